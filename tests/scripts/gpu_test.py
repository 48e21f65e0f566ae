"""Tests of the scripts around GPUs that need none: ptxas's log, the summary of a check, a GPU's short name."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench" / "peers")]
import device  # noqa: E402
import gpu_summary  # noqa: E402
import gpu_trace  # noqa: E402
import ptxas  # noqa: E402

LOG = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '{name}' for '{arch}'
ptxas info    : Function properties for {name}
    {stack} bytes stack frame, {stack} bytes spill stores, {loads} bytes spill loads
ptxas info    : Used {registers} registers, used 1 barriers, 1040 bytes smem, 400 bytes cmem[0]
"""
ROWS_FLOAT = "_ZN6plinth7kernels4cuda12_GLOBAL__N_14rowsIfEEvPKT_"
ROWS_DOUBLE = "_ZN6plinth7kernels4cuda12_GLOBAL__N_14rowsIdEEvPKT_"


class Ptxas(unittest.TestCase):
    def build(self, folder, **doubles):
        objects = Path(folder) / "kernels" / "CMakeFiles" / "plinth_kernels_cuda.dir" / "softmax"
        objects.mkdir(parents=True)
        figures = {"arch": "sm_90a", "stack": 0, "loads": 0, "registers": 40}
        text = LOG.format(name=ROWS_FLOAT, **figures) + LOG.format(name=ROWS_DOUBLE, **figures | doubles)
        (objects / "softmax.cu.o.ptxas").write_text(text)
        return ptxas.rows_of(Path(folder))

    def test_a_row_is_the_most_of_all_instantiations(self):
        with tempfile.TemporaryDirectory() as folder:
            (row,) = self.build(folder, registers=64).values()
        self.assertEqual(row["name"], "softmax: rows")
        self.assertEqual((row["arch"], row["instantiations"], row["registers"], row["shared"]), ("sm_90a", 2, 64, 1040))

    def test_a_hot_kernel_must_not_spill(self):
        with tempfile.TemporaryDirectory() as folder:
            rows = ptxas.with_reasons(self.build(folder, stack=8, loads=16), {})
        (fault,) = ptxas.faults(rows, rows)
        self.assertIn("softmax: rows (sm_90a) spills: 8 bytes of stores, 16 of loads", fault)
        (row,) = rows.values()
        row |= {"hot": False, "reason": "float64 only"}
        self.assertEqual(list(ptxas.faults(rows, rows)), [])

    def test_the_table_holds_what_the_build_holds(self):
        with tempfile.TemporaryDirectory() as folder:
            rows = ptxas.with_reasons(self.build(folder), {})
        (fault,) = ptxas.faults(rows, {})
        self.assertIn("lacks softmax: rows", fault)
        (fault,) = ptxas.faults(rows, rows | {("gone", "sm_90a"): {}})
        self.assertIn("has, but the build lacks, gone", fault)
        self.assertEqual(list(ptxas.faults(rows, rows | {("other", "sm_100a"): {}})), [])


class Summary(unittest.TestCase):
    def test_tests_that_failed_are_named(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "test.json"
            found = {"passed": 4, "failed": ["A.b"], "skipped": ["A.c", "A.d"]}
            path.write_text(json.dumps(found | {"seconds": {"A.b": 1.5}}))
            self.assertEqual(gpu_summary.tests_of(path), found)

    def test_parts_of_another_commit_are_forgotten(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "checks.json"
            path.write_text(json.dumps({"commit": "a", "parts": {"test": {"status": 0}}}))
            self.assertEqual(set(gpu_summary.merged(path, "a", "memcheck", {})), {"test", "memcheck"})
            self.assertEqual(set(gpu_summary.merged(path, "b", "memcheck", {})), {"memcheck"})


GTEST = """#!/bin/sh
# Stands for a GoogleTest program of four tests: the second fails, the third kills the process.
list=no; chosen=
for word in "$@"; do case $word in --gtest_list_tests) list=yes;; --gtest_filter=*) chosen=${word#*=};; esac; done
if [ $list = yes ]; then printf 'Suite.\\n  a\\n  b  # GetParam() = 1\\n  c\\n  d\\n'; exit; fi
for name in $(echo "$chosen" | tr : ' '); do
  echo "[ RUN      ] $name"
  case $name in
    *.b) echo wrong; echo "[  FAILED  ] $name, where GetParam() = 1 (3 ms)"; status=1;;
    *.c) kill -9 $$;;
    *) echo "[       OK ] $name (1 ms)";;
  esac
done
exit ${status:-0}
"""


class Batches(unittest.TestCase):
    def run_batches(self, *options):
        with tempfile.TemporaryDirectory() as folder:
            program, found = Path(folder) / "program", Path(folder) / "found.json"
            program.write_text(GTEST)
            program.chmod(0o755)
            script = [ROOT / "scripts" / "gtest_batches.py", "--json", found, *options]
            run = subprocess.run([*script, program], capture_output=True, text=True)
            return run, json.loads(found.read_text())

    def test_a_test_that_fails_or_dies_costs_only_itself(self):
        run, found = self.run_batches()
        self.assertEqual((run.returncode, found["passed"]), (1, 2))
        self.assertEqual(found["failed"], ["Suite.b", "Suite.c"])
        self.assertIn("wrong", run.stdout)
        self.assertIn("status -9", run.stdout)

    def test_the_status_of_the_command_in_front_counts(self):
        run, found = self.run_batches("--batch", "1", "--under", "sh -c '\"$0\" \"$@\"; exit 7'")
        self.assertEqual(run.returncode, 1)
        self.assertIn("Suite.a and on, as a process", found["failed"])
        self.assertIn("exit status 7", run.stdout)


class Trace(unittest.TestCase):
    def idle_share(self, *events):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            keys = ("name", "cat", "ts", "dur")
            path.write_text(json.dumps({"traceEvents": [dict(zip(keys, event)) | {"ph": "X"} for event in events]}))
            return gpu_trace.idle_share(path)

    def test_idle_is_what_no_activity_covers(self):
        step = ("train_step", "phase", 100, 100)
        kernel, overlapping, copy = ("a", "kernel", 110, 40), ("b", "kernel", 130, 30), ("c", "copy", 190, 30)
        self.assertAlmostEqual(self.idle_share(step, kernel, overlapping, copy), 0.4)
        self.assertAlmostEqual(self.idle_share(step, ("train_step", "phase", 300, 100), kernel), 0.8)

    def test_a_trace_without_a_gpu_is_an_error(self):
        with self.assertRaisesRegex(ValueError, "1 phases named train_step and 0 activities"):
            self.idle_share(("train_step", "phase", 0, 1))


class Device(unittest.TestCase):
    def test_a_gpu_is_called_by_its_model(self):
        self.assertEqual(device.gpu_short_name("NVIDIA H200"), "h200")
        self.assertEqual(device.gpu_short_name("NVIDIA H100 80GB HBM3"), "h100")
        self.assertEqual(device.gpu_short_name("NVIDIA A100-SXM4-40GB"), "a100-sxm4-40gb")
        with self.assertRaisesRegex(ValueError, "no model number"):
            device.gpu_short_name("NVIDIA")

    def test_a_tree_without_history_is_told_its_commit(self):
        with mock.patch.dict("os.environ", {"PLINTH_COMMIT": "abc123"}):
            self.assertEqual(device.commit(), "abc123")


class Status(unittest.TestCase):
    def test_a_kernel_changes_with_the_headers_of_other_folders_that_it_includes(self):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)

            def write(path, text):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text)

            def git(*words):
                identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
                command = ["git", *identity, *words]
                return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()

            def changed():
                run = subprocess.run(["bash", "scripts/gpu_status.sh"], cwd=root, capture_output=True, text=True)
                self.assertEqual(run.returncode, 0, run.stderr)
                lines = [line.split() for line in run.stdout.splitlines()[1:]]
                return [words[0] for words in lines if words[1] == "changed"]

            write("scripts/gpu_status.sh", (ROOT / "scripts" / "gpu_status.sh").read_text())
            write("kernels/outer/outer.cu", '#include "kernels/middle/middle.cuh"\n')
            write("kernels/middle/middle.cuh", '#include "kernels/inner/inner.cuh"\n')
            write("kernels/inner/inner.cu", '#include "kernels/inner/inner.cuh"\n')
            write("kernels/inner/inner.cuh", "int a;\n")
            write("kernels/other/other.cu", "int b;\n")
            git("init", "-q")
            git("add", "-A")
            git("commit", "-qm", "all")
            checks = {"commit": git("rev-parse", "HEAD"), "parts": {"test": {"status": 0}}}
            write("bench/results/h200/checks.json", json.dumps(checks))
            self.assertEqual(changed(), [])
            write("kernels/inner/inner.cuh", "int c;\n")
            self.assertEqual(changed(), ["inner", "outer"])


if __name__ == "__main__":
    unittest.main()
