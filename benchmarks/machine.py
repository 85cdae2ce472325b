"""What a benchmark says of the machine that it ran on."""
import pathlib


def processor():
    """The model of the CPU; "unknown" where the system does not tell."""
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"
