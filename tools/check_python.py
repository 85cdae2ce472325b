#!/usr/bin/env python3
"""Builds the Python wheel, installs it into a virtual environment of its own, and runs tests/python from elsewhere.

    check_python.py BUILD_DIRECTORY [--python EXE] [--numpy VERSION] [--plain | --wheel FILE] [--extra NAME]...
                    [--work DIR]

The module is built on the library of BUILD_DIRECTORY, a finished build; its program gives the bytes and words to
compare with. With --plain the wheel is `pip wheel .`, as a user makes it, which compiles everything; with --wheel it is
FILE, which another Python may have built. --numpy takes 1, 2 or a version; --extra installs what the wheel's extra asks
for, whose tests otherwise skip. DIR (BUILD_DIRECTORY/python) keeps the environment. Exits with 0 if all tests pass, 77
if the packages cannot be had.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import venv

SOURCE = pathlib.Path(__file__).resolve().parents[1]
BUILD_TOOLS = ["nanobind>=2.4,<4", "scikit-build-core>=0.10", "ninja"]
TEST_TOOLS = ["auditwheel", "kubernetes-validate", "msgpack", "mypy", "pytest", "pyyaml", "typing-extensions",
              "websockets>=14"]
SKIPPED = 77


def run(*command, **options):
    """Runs quietly; shows all output where it fails."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          **options)
    if done.returncode != 0:
        print(done.stdout)
    done.check_returncode()


class Environment:
    """A virtual environment, made once and kept."""

    def __init__(self, directory, python):
        self.directory, self.python = directory, directory / "bin" / "python"
        self.whole = directory / "whole"  # there once its first packages are
        if not self.whole.exists():
            shutil.rmtree(directory, ignore_errors=True)
            if python == sys.executable:
                venv.create(directory, with_pip=True)
            else:
                run(python, "-m", "venv", directory)

    def install(self, *packages):
        run(self.python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *packages)
        self.whole.touch()


def numpy_requirement(version):
    if version in ("1", "2"):
        return f"numpy>={version},<{int(version) + 1}"
    return f"numpy=={version}" if version else "numpy"


def build_wheel(environment, options):
    """The wheel's file, with or without the build's library."""
    wheels = options.work / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    command = [environment.python, "-m", "pip", "--disable-pip-version-check", "wheel", SOURCE, "--no-deps",
               "-w", wheels]
    if not options.plain:
        installed = options.work / "installed"
        shutil.rmtree(installed, ignore_errors=True)
        run("cmake", "--install", options.build, "--prefix", installed)
        command += ["--no-build-isolation", "--config-settings", f"cmake.define.NERVUS_INSTALLED={installed}",
                    "--config-settings", f"build-dir={options.work / 'module'}"]
    variables = dict(os.environ)
    if shutil.which("ccache"):
        variables |= {f"CMAKE_{language}_COMPILER_LAUNCHER": "ccache" for language in ("CXX", "CUDA")}
        # As scripts/build.sh has it: what was compiled there is known here.
        variables |= {"CCACHE_BASEDIR": str(SOURCE), "CCACHE_NOHASHDIR": "1"}
    run(*command, env=variables)
    wheel, = wheels.glob("*.whl")
    return wheel


def platform_of(environment, wheel):
    """The oldest Linux that the wheel runs on, as auditwheel sees it; None where it lacks libraries of its own."""
    shown = subprocess.run([environment.python, "-m", "auditwheel", "show", wheel], capture_output=True, text=True)
    found = re.search(r'platform tag:\s+"(\w+)"', shown.stdout)
    if found and found[1].startswith("manylinux"):
        return found[1]
    if "libcublasLt" in shown.stdout:  # CUDA's libraries are the machine's
        return "with CUDA"
    print(shown.stdout + shown.stderr)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path, metavar="BUILD_DIRECTORY")
    parser.add_argument("--python", default=sys.executable, metavar="EXE")
    parser.add_argument("--numpy", default="", metavar="VERSION")
    made = parser.add_mutually_exclusive_group()
    made.add_argument("--plain", action="store_true")
    made.add_argument("--wheel", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--extra", action="append", default=[], metavar="NAME")
    parser.add_argument("--work", type=pathlib.Path, metavar="DIR")
    options = parser.parse_args()
    options.build = options.build.resolve()
    options.work = (options.work or options.build / "python").resolve()
    try:
        environment = Environment(options.work / "venv", options.python)
        environment.install(*BUILD_TOOLS, *TEST_TOOLS, numpy_requirement(options.numpy))
    except subprocess.CalledProcessError:
        print("check_python: not checked, PyPI cannot be reached or python3-venv is not installed")
        return SKIPPED
    wheel = options.wheel.resolve() if options.wheel else build_wheel(environment, options)
    environment.install("--no-deps", "--force-reinstall", wheel)
    if options.extra:
        environment.install(f"{wheel}[{','.join(options.extra)}]", numpy_requirement(options.numpy))
    elsewhere = options.work / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    platform = platform_of(environment, wheel)
    print(f"check_python: {wheel.name}, {wheel.stat().st_size >> 20} MiB, {platform}", flush=True)
    if not platform:
        return 1
    tests = [environment.python, "-m", "pytest", "-q", "-rs", "-W", "ignore::DeprecationWarning", "-p",
             "no:cacheprovider", SOURCE / "tests" / "python", "--program", options.build / "cli" / "nervus"]
    return subprocess.run(tests, cwd=elsewhere, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}).returncode


if __name__ == "__main__":
    sys.exit(main())
