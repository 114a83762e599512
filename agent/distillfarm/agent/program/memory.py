"""What Linux says about this process's memory."""

PEAK_METHOD = "VmHWM"
RESIDENT_METHOD = "PSS"


def peak_bytes() -> int:
    """The high-water mark of resident memory (VmHWM) in bytes."""
    found = _kibibytes("/proc/self/status", "VmHWM:")
    if found is None:
        raise OSError("/proc/self/status names no VmHWM; this needs Linux")
    return found * 1024


def resident_bytes() -> int | None:
    """The proportional set size (PSS) in bytes, or None where the kernel keeps it to itself."""
    try:
        found = _kibibytes("/proc/self/smaps_rollup", "Pss:")
    except OSError:
        return None
    return None if found is None else found * 1024


def _kibibytes(path: str, field: str) -> int | None:
    with open(path) as file:  # noqa: PTH123 - pathlib is not otherwise loaded here
        for line in file:
            if line.startswith(field):
                return int(line.split()[1])
    return None
