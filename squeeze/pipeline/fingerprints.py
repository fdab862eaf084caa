"""What decides an outcome besides the recipe: libraries, code of plug-ins, the machine."""

import platform
from dataclasses import asdict
from functools import cache
from pathlib import Path

import psutil

from squeeze.core import cpu, plugins
from squeeze.measure import environment
from squeeze.store import checksums

_EVERYTHING = "everything"


@cache
def _needed_by() -> dict[str, str]:
    return environment.needed_by()


@cache
def _packages() -> dict[str, str]:
    return environment.packages()


def versions(*needs: str) -> dict[str, str]:
    """Return the versions of the installed libraries that these parts of squeeze need.

    Args:
        needs: Values of ``environment.needed_by``: runtimes, ``backend <name>``.
    """
    wanted = {_EVERYTHING, *needs}
    return {n: v for n, v in _packages().items() if _needed_by()[n] in wanted}


def code(group: str, name: str) -> dict[str, str] | None:
    """Return the SHA-256 of every file of a third party's extension.

    None for squeeze's own, which have squeeze's version.
    """
    module = plugins.load(group, name)
    if module.__name__.startswith("squeeze.") or module.__file__ is None:
        return None
    folder = Path(module.__file__).parent
    files = sorted(folder.rglob("*.py"))
    return {str(file.relative_to(folder)): checksums.of_file(file) for file in files}


def machine() -> dict[str, object]:
    """Return what latency depends on: the processor as squeeze sees it, its cores, the system."""
    return {
        "cpu": asdict(cpu.host()),
        "cores": psutil.cpu_count(logical=True),
        "system": f"{platform.system()} {platform.machine()}",
    }
