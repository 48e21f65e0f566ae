"""Tests of scripts/check_layers.py: each rule, broken in a small tree, must be reported."""

import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import check_layers  # noqa: E402

CORRECT = {
    "kernels/CMakeLists.txt": "plinth_library(kernels LINK DNNL::dnnl)\n",
    "kernels/types.h": "#pragma once\n#include <cmath>\n",
    "kernels/matmul.cpp": '#include <dnnl.hpp>\n#include "kernels/types.h"\n',
    "core/CMakeLists.txt": "plinth_library(core DEPENDS kernels)\n",
    "core/tensor.h": '#include "kernels/types.h"\n',
    "nn/CMakeLists.txt": "# comment (kernels)\nplinth_library(nn\n  DEPENDS core\n  LINK foo)\n",
    "nn/linear.cpp": '#include "core/tensor.h"\n#include "kernels/types.h"\n',
    "data/CMakeLists.txt": "plinth_library(data DEPENDS core)\n",
    "data/config.cpp": "#include <nlohmann/json.hpp>\n",
    "models/CMakeLists.txt": "plinth_library(models DEPENDS nn)\n",
    "train/CMakeLists.txt": "plinth_library(train DEPENDS models data LINK nlohmann_json)\n",
    "apps/CMakeLists.txt": "add_executable(plinth main.cpp)\n",
    "apps/main.cpp": '#include <CLI/CLI.hpp>\n#include "nn/linear.h"\n',
}


def violations_of(changes):
    """Violations of the correct tree with some files replaced."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, text in {**CORRECT, **changes}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return check_layers.check_tree(root)


class CheckLayers(unittest.TestCase):
    def expect_one(self, changes, *parts):
        found = violations_of(changes)
        self.assertEqual(len(found), 1, found)
        for part in parts:
            self.assertIn(part, found[0])

    def test_correct_tree_passes(self):
        self.assertEqual(violations_of({}), [])

    def test_this_repository_passes(self):
        self.assertEqual(check_layers.check_tree(ROOT), [])

    def test_include_of_a_higher_layer(self):
        self.expect_one(
            {"core/tensor.h": '\n#include "nn/linear.h"\n'}, "core/tensor.h:2:", "may not include nn"
        )

    def test_include_with_odd_spacing(self):
        self.expect_one({"kernels/types.h": '  #  include  "core/tensor.h"\n'}, "may not include core")

    def test_include_of_a_sibling(self):
        self.expect_one({"nn/linear.cpp": '#include "data/config.h"\n'}, "nn may not include data")

    def test_include_that_cmake_does_not_declare(self):
        # train may depend on data by the table, but this CMakeLists.txt does not say so.
        self.expect_one(
            {
                "train/CMakeLists.txt": "plinth_library(train DEPENDS nn)\n",
                "train/trainer.cpp": '#include "data/config.h"\n',
            },
            "train/trainer.cpp:1:",
            "may not include data",
        )

    def test_cmake_dependency_upwards(self):
        self.expect_one(
            {"core/CMakeLists.txt": "plinth_library(core DEPENDS kernels\n  nn)\n"},
            "core/CMakeLists.txt:2:",
            "core may not depend on nn",
        )

    def test_cuda_sources_are_checked(self):
        self.expect_one({"kernels/norm.cu": '#include "core/tensor.h"\n'}, "kernels/norm.cu:1:")

    def test_plinth_h_is_for_users(self):
        self.expect_one({"nn/linear.cpp": '#include "plinth.h"\n'}, "may not include plinth.h")

    def test_heavy_header_in_a_header(self):
        self.expect_one(
            {"data/config.h": "#include <nlohmann/json.hpp>\n"}, "data/config.h:1:", "a header may not"
        )

    def test_forward_declarations_in_a_header(self):
        self.assertEqual(violations_of({"data/config.h": "#include <nlohmann/json_fwd.hpp>\n"}), [])

    def test_heavy_header_outside_its_folder(self):
        self.expect_one({"nn/linear.cpp": "#include <dnnl.hpp>\n"}, "belongs to kernels, not nn")

    def test_header_included_twice(self):
        self.expect_one(
            {"nn/linear.cpp": '#include "core/tensor.h"\n#include <vector>\n#include "core/tensor.h"\n'},
            "nn/linear.cpp:3:",
            "core/tensor.h is included already",
        )


if __name__ == "__main__":
    unittest.main()
