"""Tests of bench/peers: the worker protocol, the rows, and README's table. Where PyTorch is, attention's peers too."""

import importlib.util
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench" / "peers"))
import cases  # noqa: E402
import report  # noqa: E402
import run  # noqa: E402
import workers  # noqa: E402

SPEAKER = """
import json, sys
print(json.dumps({"ready": True, "version": "1"}), flush=True)
for line in sys.stdin:
    print(json.dumps({"step_ms": [%s] * int(line)}), flush=True)
"""


def speaker(milliseconds):
    """A worker's command that answers every repetition with the same time."""
    return [sys.executable, "-c", SPEAKER % milliseconds]


class Workers(unittest.TestCase):
    def test_worker_answers_as_many_times_as_asked(self):
        worker = workers.Worker(speaker(2.5))
        self.assertEqual(worker.ready["version"], "1")
        self.assertEqual(worker.measure(3), {"step_ms": [2.5] * 3})
        self.assertGreater(worker.peak_mib(), 1)
        worker.close()
        self.assertEqual(worker.process.returncode, 0)

    def test_worker_that_dies_is_named(self):
        with self.assertRaisesRegex(workers.WorkerError, "false: answered ''"):
            workers.Worker(["false"])

    def test_first_step_needs_a_line_and_success(self):
        self.assertGreater(workers.time_to_first_step(["echo", "1.0"]), 0)
        with self.assertRaisesRegex(workers.WorkerError, "exit status 3"):
            workers.time_to_first_step(["sh", "-c", "echo 1.0; exit 3"])


class Cases(unittest.TestCase):
    def test_plinth_command_names_every_size(self):
        case = cases.train("GPT", cases.SMALL, 1)
        text = " ".join(case.plinth_arguments())
        self.assertIn("bench train --dtype float32 --threads 2 --serve --model gpt --layers 4 --dim 256", text)
        self.assertIn("--shape 8,8,256,32", " ".join(cases.attention(8, 8, 256, 32).plinth_arguments()))

    def test_pass_adds_up_its_parts(self):
        (both,) = cases.linear_cross_entropy(8, 8, 8).passes
        self.assertEqual(both.times({"forward_ms": [1.0, 2.0], "backward_ms": [10.0, 20.0]}), [11.0, 22.0])

    def test_sides_take_turns_and_rows_hold_medians(self):
        case = cases.train("GPT", cases.SMALL, 2)
        commands = {"plinth": 10.0, "eager": 20.0, "compile": 15.0}
        sides = {side: workers.Worker(speaker(time)) for side, time in commands.items()}
        ceiling = {"bytes_per_s": 1e11, "flops_per_s": 1e13}
        with mock.patch.object(run, "start_workers", return_value=sides), mock.patch("builtins.print"):
            (row,) = run.measure_case(case, "plinth", turns=3, ceiling=ceiling)
        self.assertEqual(row["ours_ms"], 10.0)
        self.assertEqual(row["peers"], {"torch-eager": 20.0, "torch-compile": 15.0})
        self.assertEqual(row["ratio_best"], 1.5)
        self.assertAlmostEqual(row["ceiling_fraction"], 1e3 * row["flops"] / 1e13 / 10.0)
        self.assertEqual(row["spread"], 0)


    def test_attention_grid_has_the_same_tokens_and_width_everywhere(self):
        grid = [*cases.attention_grid(True), *cases.attention_grid(False)]
        self.assertEqual(len(grid), 24)
        for case in grid:
            batch, heads, time, head_dim = case.shape
            self.assertEqual((batch * time, heads * head_dim), (16384, 2048))
            self.assertIn(f"bench {case.bench} --dtype bfloat16", " ".join(case.plinth_arguments()))
        causal, full = grid[11], grid[23]
        self.assertEqual(causal.shape, [1, 16, 16384, 128])
        self.assertEqual(full.passes[0].flops, 4 * 16 * 16384 * 16384 * 128)
        self.assertEqual([part.flops * 2 for part in causal.passes], [part.flops for part in full.passes])

    def test_row_of_products_tells_their_rate(self):
        case = cases.attention_grid(True)[0]
        part = case.passes[0]
        row = report.make_row(case, part, [2.0], {"flash": [3.0]}, {"bytes_per_s": 1e12, "flops_per_s": 1e15})
        self.assertEqual(row["flops_per_s"], 500 * part.flops)
        self.assertAlmostEqual(row["product_fraction"], 500 * part.flops / 1e15)
        self.assertRegex(report.format_row(row)[-1], r"^\d+ TFLOP/s, \d+ % of a large product$")

    def test_sides_that_start_together_answer_or_end_together(self):
        case = cases.attention_grid(True)[0]
        commands = {"cudnn": speaker(1.0), "flash": speaker(2.0), "flex": speaker(3.0)}
        with mock.patch.object(workers, "torch_command", side_effect=lambda mode, _: commands[mode]):
            sides = run.start_workers(case, None)
            self.assertEqual([side.measure(1)["step_ms"] for side in sides.values()], [[1.0], [2.0], [3.0]])
            for side in sides.values():
                side.close()
            commands["flex"] = ["false"]
            with self.assertRaisesRegex(workers.WorkerError, "false: answered ''"):
                run.start_workers(case, None)


@unittest.skipUnless(importlib.util.find_spec("torch"), "needs PyTorch")
class AttentionPeers(unittest.TestCase):
    """On the CPU, where cuDNN is not and FlexAttention has no backward pass."""

    SHAPE = [1, 2, 128, 16]

    def test_backends_compute_attention(self):
        import torch
        import torch.nn.functional as F
        import torch_attention

        torch.set_default_device("cpu")
        q, k, v = (torch.randn(self.SHAPE) for _ in range(3))
        for name, causal in torch_attention.CAUSAL.items():
            expected = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
            for backend in ("flash", "flex"):
                with self.subTest(backend=backend, name=name):
                    result = torch_attention.function_of(backend, name, self.SHAPE)(q, k, v)
                    self.assertLess((result - expected).abs().max().item(), 1e-5)

    def test_forced_backend_that_is_not_there_is_an_error(self):
        import torch
        import torch_attention

        op = torch_attention.Attention("cudnn", "attention", self.SHAPE, torch.float32)
        with self.assertRaises(RuntimeError):
            op.forward()

    def test_worker_measures_both_passes(self):
        command = workers.torch_command("flash", ["attention_full", "[1, 2, 64, 16]", "cpu", "float32"])
        worker = workers.Worker(command)
        answer = worker.measure(2)
        worker.close()
        self.assertEqual({key: len(times) for key, times in answer.items()}, {"forward_ms": 2, "backward_ms": 2})


class Readme(unittest.TestCase):
    def update(self, text, results):
        with tempfile.TemporaryDirectory() as folder:
            readme = Path(folder) / "README.md"
            readme.write_text(text)
            with mock.patch.object(report, "load_results", return_value=results), mock.patch("builtins.print"):
                report.update_readme(readme)
            return readme.read_text()

    def test_table_replaces_what_stands_between_the_markers(self):
        case = cases.train("GPT", cases.SMALL, 2)
        row = report.make_row(case, case.passes[0], [100.0] * 4, {"eager": [250.0], "compile": [200.0]}, None)
        result = {"date": "2026-01-02T03:04:05", "versions": {"torch": "2", "cpu": "X"}, "rows": [row]}
        text = self.update(f"top\n{report.BEGIN}\nold\n{report.END}\nbottom\n", [result])
        self.assertTrue(text.startswith("top\n") and text.endswith("\nbottom\n"))
        self.assertNotIn("old", text)
        self.assertIn("| 20,480 tokens/s | 8,192 tokens/s | 10,240 tokens/s | 2.00 |", text)

    def test_no_result_gives_no_figure(self):
        text = self.update(f"{report.BEGIN}\n{report.END}", [])
        self.assertIn("Not measured yet.", text)

    def test_missing_markers_are_an_error(self):
        with self.assertRaisesRegex(SystemExit, "lacks the markers"):
            self.update("no markers", [])


if __name__ == "__main__":
    unittest.main()
