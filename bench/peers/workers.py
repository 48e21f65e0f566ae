"""Worker processes: each holds one side of one case, warm, and measures when it is told to."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
THREADS = "2"


class WorkerError(RuntimeError):
    """A worker ended or answered something other than times."""


def environment(device="cpu"):
    """The same for both sides: two threads, no compiler processes beside the measured one, one GPU or none."""
    fixed = {
        "OMP_NUM_THREADS": THREADS,
        "MKL_NUM_THREADS": THREADS,
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "" if device == "cpu" else "0",
    }
    return os.environ | fixed


def torch_command(mode, arguments):
    return [sys.executable, str(HERE / "torch_worker.py"), mode, *arguments]


class Worker:
    """A process that answers a line `N` with a JSON object of lists of N times."""

    def __init__(self, command, device="cpu"):
        self.command = command
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(device)
        )
        self.ready = self.read()

    def read(self):
        line = self.process.stdout.readline()
        try:
            answer = json.loads(line)
        except json.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            self.close()
            raise WorkerError(f"{' '.join(self.command)}: answered {line.strip()!r}, expected a JSON object")
        return answer

    def measure(self, count):
        return self.ask(count)

    def replace_case(self, arguments):
        """Lets a worker of PyTorch's, with its compiled code and its memory gone, take another case."""
        self.ready = self.ask(arguments)

    def ask(self, order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.read()

    def peak_mib(self):
        """The most memory that the process ever held."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        raise WorkerError(f"{' '.join(self.command)}: no VmHWM in its status")

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def time_to_first_step(command):
    """Milliseconds from starting a process to its first line of output, printed after one step."""
    begin = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=environment()
    ) as run:
        line = run.stdout.readline()
        elapsed = 1e3 * (time.perf_counter() - begin)
        run.stdout.read()
    if run.returncode != 0 or not line.strip():
        raise WorkerError(f"{' '.join(command)}: exit status {run.returncode}, first line {line.strip()!r}")
    return elapsed
