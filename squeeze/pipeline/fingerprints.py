"""What decides an outcome besides a recipe: libraries, code of plug-ins, the machine."""

import platform
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from squeeze.core import cpu
from squeeze.measure import environment
from squeeze.store import checksums

_EVERYTHING = "everything"


@cache
def _packages() -> dict[str, str]:
    return environment.packages()


def versions(*needs: str) -> dict[str, str]:
    """Return the versions of the installed libraries that these parts of squeeze need.

    Args:
        needs: Values of ``environment.PACKAGES``: runtimes, ``backend <name>``.
    """
    wanted = {_EVERYTHING, *needs}
    return {n: v for n, v in _packages().items() if environment.PACKAGES[n] in wanted}


def code(module: object) -> str | None:
    """Return the SHA-256 of a third party's module; None of squeeze's own, which has a version."""
    name, place = getattr(module, "__name__", ""), getattr(module, "__file__", None)
    if name.startswith("squeeze.") or place is None:
        return None
    return checksums.of_file(Path(place))


def machine() -> dict[str, Any]:
    """Return what latency belongs to: the processor as squeeze sees it, its cores, the system."""
    return {
        "cpu": asdict(cpu.host()),
        "cores": psutil.cpu_count(logical=True),
        "system": f"{platform.system()} {platform.machine()}",
    }
