#!/usr/bin/env bash
# Pretraining on two hosts of eight GPUs, a task a GPU:
#
#   sbatch examples/cluster/slurm.sh run.toml
#
#SBATCH --job-name=plinth
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=12
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=plinth-%j.log
# Two minutes before the time is over, so that ranks write a checkpoint.
#SBATCH --signal=TERM@120
set -euo pipefail

[ $# -ge 1 ] || { echo "usage: sbatch slurm.sh CONFIG.toml [KEY=VALUE...]" >&2; exit 2; }

# What the ranks of this job prove to each other.
PLINTH_TOKEN=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
export PLINTH_TOKEN
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
export SRUN_CPUS_PER_TASK=$OMP_NUM_THREADS  # srun does not take it over from sbatch

# The store is at the step's first host; where its name is not an address that the others reach,
# `export PLINTH_BIND=ib0` names the network. A job that is queued again goes on from its checkpoint.
srun --kill-on-bad-exit=1 --label plinth pretrain "$@" --resume
