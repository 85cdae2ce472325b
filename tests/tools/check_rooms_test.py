#!/usr/bin/env python3
"""Shows that each rule of tools/check_rooms.py can fail, on small trees of its own."""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import check_rooms

# A house that keeps every rule.
HOUSE = {
    "include/nervus/policy.h": "#include <vector>\n",
    "src/core/check.h": '#include "nervus/policy.h"\n',
    "src/checkpoint/json.h": '#include "core/check.h"\n',
    "src/checkpoint/safetensors.h": '#include "checkpoint/json.h"\n',
    "src/preprocess/tokenizer.cpp": '#include "checkpoint/json.h"\n',
    "src/backends/ops.h": '#include "core/check.h"\n',
    "src/backends/cpu/cpu.h": '#include "backends/ops.h"\n',
    "src/backends/cuda/cuda.h": '#include "backends/ops.h"\n',
    "src/models/nn/norm.h": '#include "backends/ops.h"\n',
    "src/models/lingbot/lingbot.h": '#include "models/nn/norm.h"\n// LingBot\n',
    "src/models/pi0/pi0.h": '#include "checkpoint/safetensors.h"\n',
    "src/models/families.cpp": '#include "models/lingbot/lingbot.h"\nlingbot row\n',
    "src/quant/recipe.h": '#include "backends/ops.h"\n',
    "src/runtime/policy.cpp": '#include "nervus/policy.h"\n#include "backends/cpu/cpu.h"\n',
    "src/capi/nervus.cpp": '#include "nervus/policy.h"\n',
    "src/serve/server.h": '#include "nervus/policy.h"\n',
    "cli/main.cpp": '#include "nervus/policy.h"\n#include "table.h"\n// lingbot may be named here\n',
    "cli/table.h": "#define WIDTH 80\n",
}


def findings(changes):
    with tempfile.TemporaryDirectory() as root:
        for name, text in (HOUSE | changes).items():
            path = pathlib.Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        checker = check_rooms.Checker(root)
        assert checker.run() == (not checker.errors)
        return checker.errors, checker.warnings


class Rooms(unittest.TestCase):
    def test_good_house(self):
        self.assertEqual(findings({}), ([], []))

    def test_forbidden_includes(self):
        for file, include in (
                ("include/nervus/options.h", "core/check.h"),
                ("src/core/dtype.h", "checkpoint/json.h"),
                ("src/checkpoint/pt.h", "preprocess/tokenizer.cpp"),
                ("src/checkpoint/pt.h", "backends/ops.h"),
                ("src/preprocess/image.cpp", "checkpoint/safetensors.h"),
                ("src/preprocess/image.cpp", "backends/ops.h"),
                ("src/backends/device.h", "models/nn/norm.h"),
                ("src/backends/device.h", "backends/cpu/cpu.h"),
                ("src/backends/cpu/linear.h", "backends/cuda/cuda.h"),
                ("src/backends/cpu/linear.h", "checkpoint/json.h"),
                ("src/models/nn/rope.h", "backends/cpu/cpu.h"),
                ("src/models/nn/rope.h", "runtime/policy.cpp"),
                ("src/models/nn/rope.h", "models/lingbot/lingbot.h"),
                ("src/models/pi0/expert.h", "models/lingbot/lingbot.h"),
                ("src/models/pi0/expert.h", "preprocess/tokenizer.cpp"),
                ("src/quant/calibrate.h", "models/nn/norm.h"),
                ("src/quant/calibrate.h", "backends/cuda/cuda.h"),
                ("src/runtime/stage.h", "models/pi0/pi0.h"),
                ("src/runtime/stage.h", "serve/server.h"),
                ("src/capi/nervus.cpp", "core/check.h"),
                ("src/serve/wire.h", "runtime/policy.cpp"),
                ("src/serve/wire.h", "checkpoint/safetensors.h"),
                ("cli/run.cpp", "core/check.h"),
                ("cli/run.cpp", "../src/core/check.h"),
                ("python/module.cpp", "core/check.h"),
                ("cli/run.cpp", "absent.h")):
            with self.subTest(file=file, include=include):
                errors, _ = findings({file: f'// one\n#include "{include}"\n'})
                self.assertEqual(len(errors), 1, errors)
                self.assertTrue(errors[0].startswith(f"{file}:2: error: "), errors)

    def test_angle_brackets_are_no_way_out(self):
        errors, _ = findings({"cli/run.cpp": "#include <core/check.h>\n"})
        self.assertEqual(len(errors), 1)

    def test_unknown_room(self):
        errors, _ = findings({"src/attic/old.cpp": "\n"})
        self.assertIn("attic is not a room", errors[0])

    def test_family_names(self):
        for file in ("src/runtime/load.cpp", "src/models/nn/rope.h", "src/models/pi0/expert.h"):
            with self.subTest(file=file):
                errors, _ = findings({file: "// as in LingBot\n"})
                self.assertEqual(len(errors), 1)
                self.assertIn("family lingbot is named outside", errors[0])
        errors, _ = findings({"src/models/families.cpp": HOUSE["src/models/families.cpp"] + "if lingbot\n"})
        self.assertEqual(len(errors), 1)
        self.assertIn("families.cpp:3", errors[0])

    def test_file_budget(self):
        self.assertEqual(findings({"cli/long.cpp": "\n" * 400}), ([], []))
        errors, _ = findings({"cli/long.cpp": "\n" * 401})
        self.assertIn("401 lines; at most 400", errors[0])

    def test_header_and_kernel_budgets_warn(self):
        for file, lines in (("src/core/tensor.h", 151), ("src/backends/cuda/kernels/rope.cu", 301)):
            with self.subTest(file=file):
                errors, warnings = findings({file: "\n" * lines})
                self.assertEqual((len(errors), len(warnings)), (0, 1))

    def test_part_budgets(self):
        code = "int x;\n" * 390 + "\n" + "  // only lines of code count\n" * 9
        budgets = {part: most for part, _, most in check_rooms.PARTS}
        for part, place in (("core", "src/core/"), ("core", "include/nervus/"),
                            ("bench", "cli/bench_"), ("cli", "cli/")):
            with self.subTest(part=part, place=place):
                most = budgets[part]
                fitting = most // 390 - 1  # and the house's own lines
                files = {f"{place}part{i}.cpp": code for i in range(fitting)}
                self.assertEqual(findings(files)[0], [])
                over = most + 1 - 390 * fitting
                more = {f"{place}more{i}.cpp": "int x;\n" * (over // 2 + 1) for i in range(2)}
                errors, _ = findings(files | more)
                self.assertEqual(len(errors), 1, errors)
                self.assertTrue(errors[0].startswith(f"{part} ("), errors)
                self.assertIn(f"lines of code; at most {most}", errors[0])

    def test_parts_without_budget(self):
        code = "int x;\n" * 400
        for place in ("src/backends/cuda/", "src/quant/", "src/capi/", "src/serve/", "cli/serve_", "python/"):
            with self.subTest(place=place):
                self.assertEqual(findings({f"{place}part{i}.cpp": code for i in range(25)})[0], [])

    def test_forbidden_text(self):
        for file, text, message in (
                ("src/core/check.cpp", "#define CHECK(x) x\n", "function-like macro"),
                ("cli/run.cpp", "#  define CHECK(x) x\n", "function-like macro"),
                ("src/core/check.cpp", 'std::getenv("HOME")\n', "environment"),
                ("include/nervus/options.h", "// TODO: more\n", "unfinished"),
                ("cli/run.cpp", "// FIXME\n", "unfinished"),
                ("src/core/check.cpp", "/* XXX */\n", "unfinished"),
                ("src/core/check.cpp", "#if 0\n#endif\n", "disabled code")):
            with self.subTest(text=text):
                errors, _ = findings({file: text})
                self.assertEqual(len(errors), 1)
                self.assertIn(message, errors[0])
        self.assertEqual(findings({"cli/run.cpp": 'getenv("COLUMNS")\n'}), ([], []))


if __name__ == "__main__":
    unittest.main()
