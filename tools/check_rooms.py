#!/usr/bin/env python3
"""Checks the house rules of docs/architecture.md on src/, include/ and cli/.

    check_rooms.py [ROOT]

Who may include whom, where a model family may be named, how long files and the whole may be, and what the code does
not contain. Prints each finding as FILE:LINE: MESSAGE; exits with 1 if one of them is an error (warnings are not).
"""
import pathlib
import re
import sys

# Room -> what it may include: a room, or a part of one by glob over paths below src/.
BACKEND_FRONT = "backends/*.h"
ALLOWED = {
    "include": [],
    "core": [],
    "checkpoint": ["core"],
    "preprocess": ["core", "checkpoint/json.h", "checkpoint/file.h"],
    "backends": ["core"],
    "models": ["core", "checkpoint", BACKEND_FRONT],
    "quant": ["core", "checkpoint", BACKEND_FRONT],
    "runtime": ["core", "checkpoint", "preprocess", "backends", "models", "quant"],
    "capi": [],
    "wire": ["core"],
    "serve": ["core", "wire", "checkpoint/json.h", "checkpoint/file.h", "preprocess/image.h"],
    "client": ["core", "wire", "checkpoint/json.h"],
    "cli": [],
    "python": [],
}
CODE = {".h", ".cpp", ".cu", ".cuh"}
FILE_LINES, KERNEL_LINES, HEADER_LINES = 400, 300, 150
# A part, the beginnings of its paths, and the most lines of code (neither blank nor comment) that it may have. A file
# belongs to the first part that it fits; what only some machines, formats and programs need has no budget.
PARTS = (
    ("cuda", ("src/backends/cuda/",), None),
    ("quant", ("src/quant/", "src/runtime/calibrate", "src/runtime/formats", "src/models/lingbot/formats",
               "src/models/nn/rotat"), None),
    ("capi", ("src/capi/", "include/nervus/nervus.h"), None),
    ("serve", ("src/wire/", "src/serve/", "include/nervus/server.h", "include/nervus/record.h",
               "cli/serve", "cli/replay"), None),
    ("client", ("src/client/", "include/nervus/client.h", "include/nervus/player.h"), None),
    ("python", ("python/",), None),
    ("core", ("src/", "include/"), 8960),
    ("bench", ("cli/bench",), 725),
    ("cli", ("cli/",), 2220),
)
FAMILY_LINES = 2                                  # in families.cpp: its include and its row
DIALECTS = {"serve"}                              # rooms that speak the wire of a public server named like a family
GENERATED = {"build_commit.h", "backends/cuda/device/wgmma_sm90.cuh"}  # headers that the build writes
FORBIDDEN = [
    (re.compile(r"^\s*#\s*define\s+\w+\("), "a function-like macro; write a function or a template"),
    (re.compile(r"\b(TODO|FIXME|XXX)\b"), "unfinished work; finish it or file an issue"),
    (re.compile(r"^\s*#\s*if\s+0\b"), "disabled code; delete it"),
]
GETENV = re.compile(r"\b(secure_)?getenv\b")
NO_CODE = re.compile(r"^\s*(//.*)?$")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


class Checker:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.errors, self.warnings = [], []
        self.lines = {part: 0 for part, _, _ in PARTS}
        models = self.root / "src" / "models"
        self.families = sorted(p.name for p in models.glob("*/") if p.is_dir() and p.name != "nn")

    def error(self, file, line, message):
        self.errors.append(f"{file}:{line}: error: {message}")

    def warn(self, file, line, message):
        self.warnings.append(f"{file}:{line}: warning: {message}")

    def files(self):
        for top in ("include", "src", "cli", "python"):
            for path in sorted((self.root / top).rglob("*")):
                if path.suffix in CODE:
                    yield path.relative_to(self.root)

    @staticmethod
    def room(file):
        """The room of a path relative to the root."""
        return file.parts[1] if file.parts[0] == "src" else file.parts[0]

    @staticmethod
    def part(file):
        """The part that a path relative to the root counts for."""
        return next(part for part, beginnings, _ in PARTS if file.as_posix().startswith(beginnings))

    def find(self, file, name):
        """The file that an include names, relative to the root; None if it is no file of the project."""
        for base in (file.parent, pathlib.Path("include"), pathlib.Path("src"), pathlib.Path(".")):
            path = self.root / base / name
            if path.is_file():
                return path.resolve().relative_to(self.root.resolve())
        return None

    def check_include(self, file, line, quote, name):
        target = self.find(file, name)
        if target is None:
            if quote == '"' and name not in GENERATED:
                self.error(file, line, f'"{name}" is no file of the project; use <> for others')
            return
        room, other = self.room(file), self.room(target)
        if other == room:
            here, there = file.parts[2:-1], target.parts[2:-1]
            if room == "backends" and there and here[:1] != there[:1]:
                self.error(file, line, f"{target} belongs to one device; include only {BACKEND_FRONT} here")
            return
        below_src = target.relative_to("src") if target.parts[0] == "src" else None
        if other == "include" or any(below_src and (other == rule or below_src.match(rule)) for rule in ALLOWED[room]):
            return
        allowed = ", ".join(["include/nervus", *ALLOWED[room]])
        self.error(file, line, f"{room} may not include {target}; it may include {allowed} and itself")

    def family_of(self, file):
        inside = file.parts[:2] == ("src", "models") and len(file.parts) > 3 and file.parts[2] in self.families
        return file.parts[2] if inside else None

    def check_family_names(self, file, lines):
        """An include names the family too, so this also keeps a family's files its own."""
        if file.parts[0] != "src" or self.room(file) in DIALECTS:
            return
        for family in self.families:
            if self.family_of(file) == family:
                continue
            named = [n for n, text in enumerate(lines, 1) if re.search(rf"(?<![a-z0-9]){family}", text.lower())]
            limit = FAMILY_LINES if file == pathlib.Path("src/models/families.cpp") else 0
            for number in named[limit:]:
                self.error(file, number, f"the family {family} is named outside src/models/{family} and its line of "
                                         "src/models/families.cpp")

    def check_size(self, file, count):
        if count > FILE_LINES:
            self.error(file, count, f"{count} lines; at most {FILE_LINES}: split it by idea")
        elif file.suffix in {".h", ".cuh"} and count > HEADER_LINES:
            self.warn(file, count, f"{count} lines; a header keeps to {HEADER_LINES}")
        elif "kernels" in file.parts and count > KERNEL_LINES:
            self.warn(file, count, f"{count} lines; a kernel keeps to {KERNEL_LINES}")

    def check_file(self, file):
        lines = (self.root / file).read_text(encoding="utf-8").splitlines()
        self.lines[self.part(file)] += sum(1 for text in lines if not NO_CODE.match(text))
        self.check_size(file, len(lines))
        self.check_family_names(file, lines)
        for number, text in enumerate(lines, 1):
            for pattern, message in FORBIDDEN:
                if pattern.search(text):
                    self.error(file, number, message)
            if file.parts[0] == "src" and GETENV.search(text):
                self.error(file, number, "the library reads no environment variables")
            include = INCLUDE.match(text)
            if include:
                self.check_include(file, number, *include.groups())

    def run(self):
        for file in self.files():
            if self.room(file) not in ALLOWED:
                self.error(file, 1, f"{self.room(file)} is not a room; the rooms are {', '.join(ALLOWED)}")
                continue
            self.check_file(file)
        for part, beginnings, most in PARTS:
            if most is not None and self.lines[part] > most:
                self.error(f"{part} ({', '.join(beginnings)})", self.lines[part], f"{self.lines[part]} lines of code; "
                           f"at most {most}: say it once, or use what a library offers")
        return not self.errors


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent
    checker = Checker(root)
    passed = checker.run()
    for finding in checker.warnings + checker.errors:
        print(finding)
    counts = ", ".join(f"{part} {checker.lines[part]}" + (f" of {most}" if most else "") for part, _, most in PARTS)
    print(f"rooms: lines of code: {counts}; {len(checker.errors)} errors, {len(checker.warnings)} warnings")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
