"""The installed package: whole, typed, and independent of where it was built."""
import importlib.metadata
import pathlib
import re
import subprocess
import sys

import nervus
from conftest import SOURCE

PACKAGE = pathlib.Path(nervus.__file__).parent
# What the package may take from the machine: the C and C++ libraries, zlib, CUDA, and Python's own.
ASSUMED = re.compile(r"(ld-linux.*|lib(c|m|dl|rt|pthread|util|gcc_s|stdc\+\+|z|cu(da|blas|blasLt)|python3[.\d]*))\.so"
                     r"[.\d]*$|/lib-dynload/")


def test_it_is_not_the_source_tree():
    assert PACKAGE != SOURCE / "python" / "nervus" and "site-packages" in PACKAGE.parts
    assert (PACKAGE / "py.typed").exists() and (PACKAGE / "_native.pyi").exists()


def test_one_wheel_serves_newer_pythons():
    """From CPython 3.12 on the module keeps to the stable ABI, and its name says so; before it is one version's."""
    wheel = importlib.metadata.distribution("nervus").read_text("WHEEL")
    own = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    expected = "cp312-abi3" if sys.version_info >= (3, 12) else f"{own}-{own}"
    assert re.findall(r"^Tag: (\w+-\w+)-\w*linux", wheel, re.MULTILINE) == [expected]
    module, = PACKAGE.glob("_native.*so")
    assert ("abi3" in module.name) == ("abi3" in expected)


MAPPED = """
import pathlib, re, sys, numpy

def mapped():
    return set(re.findall(r"(/\\S+\\.so[.\\d]*)$", pathlib.Path("/proc/self/maps").read_text(), re.MULTILINE))

before = mapped()
import nervus
policy = nervus.Policy.load(sys.argv[1], threads=1, steps=[1])
policy.infer(images={"cam_high": sys.argv[2]}, state=[0.0] * 75, prompt="go")
print(*(mapped() - before), sep="\\n")
"""


def test_libraries_are_its_own(checkpoint):
    """A call maps no library of the machine, beside those of Python and numpy, that another machine may lack."""
    image = SOURCE / "examples" / "aloha" / "cam_high.png"
    done = subprocess.run([sys.executable, "-c", MAPPED, checkpoint, image], capture_output=True, text=True, check=True,
                          env={}, cwd="/")
    paths = [pathlib.Path(line) for line in done.stdout.split()]
    own = {path.name.split(".")[0] for path in paths if path.parent == PACKAGE}
    assert {"libdnnl", "libpcre2-8", "libutf8proc", "libspng", "libturbojpeg", "libnervus", "libgomp"} <= own
    assert [path for path in paths if path.parent != PACKAGE and not ASSUMED.search(str(path))] == []


def test_it_warns_of_nothing(checkpoint):
    """Nothing that a newer Python or numpy deprecates, no object that outlives the interpreter."""
    image = SOURCE / "examples" / "aloha" / "cam_high.png"
    done = subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", MAPPED, checkpoint, image],
                          capture_output=True, text=True, cwd="/")
    assert (done.returncode, done.stderr) == (0, "")


def test_licences_are_in_it():
    """Of each library beside the module, and of what is compiled in; with the texts that those refer to."""
    licences = PACKAGE / "licenses"
    owners = dict(line.split(": ") for line in (licences / "files.txt").read_text().splitlines())
    bundled = {path.name for path in PACKAGE.glob("*.so*") if not path.name.startswith(("libnervus", "_native"))}
    assert bundled and bundled | {"json.hpp"} == set(owners) - {"ssl.h"}
    for licence in [*owners.values(), "nanobind.txt"]:
        assert re.search("copyright", (licences / licence).read_text(errors="replace"), re.IGNORECASE), licence
    assert "Apache License" in (licences / "common-licenses" / "Apache-2.0").read_text()


def test_the_package_is_sound(tmp_path):
    """mypy finds nothing in the package itself; the extras' own packages may be missing."""
    command = [sys.executable, "-m", "mypy", "-p", "nervus", "--disallow-untyped-defs", "--warn-unused-ignores",
               "--ignore-missing-imports", "--cache-dir", tmp_path / "cache"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_types_are_checked(tmp_path):
    """mypy finds the example sound, and each wrong line wrong."""
    example = (SOURCE / "tests" / "python" / "typed_example.py").read_text()
    (tmp_path / "right.py").write_text(example)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "--python-version",
               f"{sys.version_info[0]}.{sys.version_info[1]}"]
    done = subprocess.run([*command, "right.py"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    wrong = {"policy.infer(images={}, state=[0.0])": "Missing named argument",
             "policy.infer(images={}, state=[0.0], prompt=3)": "incompatible type",
             "nervus.Policy.load('x', precision='f64')": "incompatible type",
             "nervus.Policy.load('x', colour='red')": "Unexpected keyword argument",
             "policy.info.joint": "has no attribute"}
    (tmp_path / "wrong.py").write_text(example + "\n".join(wrong))
    found = subprocess.run([*command, "wrong.py"], capture_output=True, text=True, cwd=tmp_path).stdout.splitlines()
    start = len(example.splitlines())
    for offset, (line, words) in enumerate(wrong.items(), 1):
        assert any(f"wrong.py:{start + offset}:" in text and words in text for text in found), (line, found)
