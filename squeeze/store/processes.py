"""Which process something belongs to, and whether that process is gone."""

import hashlib
import os
import platform
import re

_MARK = re.compile(r"(?:^|\.)squeeze-([0-9a-f]{8})-(\d+)-(\d+)-")
_CLOCK_S = 2
"""A process's start is computed from the boot time, which moves when the clock is set."""


def mark() -> str:
    """Return the part of a temporary name that tells which process it belongs to."""
    return f"squeeze-{_host()}-{os.getpid()}-{int(started(os.getpid()))}-"


def abandoned(name: str) -> bool:
    """Tell whether a temporary name carries the mark of a process that ran here and is gone."""
    found = _MARK.search(name)
    if found is None or found[1] != _host():  # another host's processes cannot be seen from here
        return False
    return gone(int(found[2]), float(found[3]))


def gone(pid: int, since: float) -> bool:
    """Tell whether the process with this number that started then (s since 1970) is gone."""
    import psutil

    try:
        return abs(psutil.Process(pid).create_time() - since) > _CLOCK_S
    except (psutil.Error, ValueError, OverflowError):
        return True


def started(pid: int) -> float:
    """Return when a living process started, in seconds since 1970."""
    import psutil

    return float(psutil.Process(pid).create_time())


def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]
