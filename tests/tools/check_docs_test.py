#!/usr/bin/env python3
"""Every file and folder of the project that the documentation names in backticks or links to exists."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parents[2]
tops = ("src/", "include/", "cli/", "tests/", "tools/", "docs/", "scripts/", "examples/", "benchmarks/")


def named_paths(text):
    for name in re.findall(r"`([^`\s]+)`", text) + re.findall(r"\]\(([^)#]+)\)", text):
        if name.startswith(tops) and not re.search(r"[<>{}*]", name):
            yield name.rstrip("/")


def missing(documents):
    return [f"{path.relative_to(root)}: names '{name}', which is not there"
            for path in documents for name in named_paths(path.read_text())
            if not (root / name).exists() and not (root / (name + ".cpp")).exists()]


def main():
    documents = [root / "README.md", root / "CHANGELOG.md", *sorted((root / "docs").glob("*.md"))]
    assert list(named_paths("see `src/core/` and [x](docs/a.md)")) == ["src/core", "docs/a.md"]
    findings = missing(documents)
    print("\n".join(findings) or f"docs: every path named in {len(documents)} documents exists")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
