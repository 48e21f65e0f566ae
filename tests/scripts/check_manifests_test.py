"""Tests of scripts/check_manifests.py: the manifests of examples/ pass, and each kind of mistake is told."""

import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = (ROOT / "examples" / "cluster" / "kubernetes.yaml").read_text()

# What stands there, what a slip makes of it, and a word of the message.
SLIPS = [
    ("completionMode", "completionsMode", "completionsMode"),
    ("parallelism: 2", "parallelism: two", "parallelism"),
    ("- name: plinth\n          image", "- image", "name"),
    ("restartPolicy: Never", "restartPolicy: [Never]", "restartPolicy"),
    ("      subdomain: plinth\n", "", None),  # may be left out
    ("kind: Job", "kind: Jobs", "none of the kinds"),
    ("apiVersion: batch/v1", "apiVersion: batch/v2", "none of the kinds"),
    ("spec:\n  clusterIP", "spec: [\n  clusterIP", "expected"),
    (MANIFEST, "---\n", "is empty"),
]


class CheckManifests(unittest.TestCase):
    def test_each_slip_is_told(self):
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"slip{i}.yaml" for i in range(len(SLIPS))]
            for path, (right, wrong, _) in zip(paths, SLIPS):
                self.assertIn(right, MANIFEST)
                path.write_text(MANIFEST.replace(right, wrong))
            script = ROOT / "scripts" / "check_manifests.py"
            result = subprocess.run([script, *paths], capture_output=True, text=True)
        self.assertEqual(result.returncode, 1)
        for path, (_, wrong, word) in zip(paths, SLIPS):
            told = result.stderr.split(str(path))[1:]
            self.assertEqual(bool(told), word is not None, wrong)
            self.assertIn(word or "", "".join(told) if told else "")

    def test_examples_pass(self):
        result = subprocess.run([ROOT / "scripts" / "check_manifests.py"], capture_output=True, text=True)
        self.assertEqual((result.returncode, result.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
