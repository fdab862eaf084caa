"""Find extensions by name, without importing them.

A file in one of the packages below, or a folder in those of runtimes, backends, dataset formats and
tasks, is an extension and its name is the name in a recipe. A third party adds its own through the
entry-point group of the same name, for example::

    [project.entry-points."squeeze.pruning.importance"]
    my_criterion = "my_package.my_criterion"
"""

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from squeeze.core.errors import InputError, unknown_name

IMPORTANCE = "squeeze.pruning.importance"
SPARSE = "squeeze.pruning.sparse"
LOSSES = "squeeze.distillation.losses"
BACKENDS = "squeeze.quantization.backends"
CALIBRATORS = "squeeze.quantization.calibration"
RUNTIMES = "squeeze.runtimes"
DATASETS = "squeeze.data.formats"
TASKS = "squeeze.tasks"

KINDS = {
    "importance": IMPORTANCE,
    "sparse": SPARSE,
    "losses": LOSSES,
    "backends": BACKENDS,
    "calibrators": CALIBRATORS,
    "runtimes": RUNTIMES,
    "datasets": DATASETS,
    "tasks": TASKS,
}
ExtensionFunction = Callable[..., Any]
"""A function of an extension; its group says what it takes and returns."""

ONE_OF = {
    SPARSE: "sparse training",
    LOSSES: "loss",
    BACKENDS: "backend",
    CALIBRATORS: "calibrator",
    RUNTIMES: "runtime",
    DATASETS: "format",
    TASKS: "task",
}
_FOLDERS = {BACKENDS, DATASETS, RUNTIMES, TASKS}
"""Groups whose extensions are folders: their parts are loaded one by one."""
_NOT_EXTENSIONS = {"__init__", "base"}


def names(group: str) -> dict[str, str]:
    """Return ``{extension name: module to import}`` of one group, importing none of them.

    A name that squeeze itself has cannot be replaced.
    """
    folder = Path(__file__).parents[1].joinpath(*group.split(".")[1:])
    if group in _FOLDERS:
        stems = [file.parent.name for file in folder.glob("*/__init__.py")]
    else:
        stems = [file.stem for file in folder.glob("*.py") if file.stem not in _NOT_EXTENSIONS]
    found = {stem: f"{group}.{stem}" for stem in sorted(stems)}
    return dict(_entry_points(group, tuple(sys.path))) | found


@cache
def _entry_points(group: str, search: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return names and modules; looking through all installed packages takes a while."""
    del search  # what is installed is looked for there
    return tuple((entry.name, entry.module) for entry in entry_points(group=group))


def load(group: str, name: str) -> ModuleType:
    """Import one extension.

    Raises:
        InputError: No extension of the group has this name, or it cannot be imported.
    """
    return imported(_module(group, name))


def load_part(group: str, name: str, part: str) -> ModuleType:
    """Import one module inside an extension's folder.

    Raises:
        InputError: No extension of the group has this name or part, or it cannot be imported.
    """
    return imported(f"{_module(group, name)}.{part}")


def load_function(group: str, name: str, part: str, function: str) -> ExtensionFunction:
    """Import one function of a module inside an extension's folder.

    Raises:
        InputError: No extension of the group has it, or its module cannot be imported.
    """
    module = load_part(group, name, part)
    found: ExtensionFunction | None = getattr(module, function, None)
    if found is None:
        what = f"has no {function}, which {ONE_OF[group]} {name} needs"
        raise InputError(what, where=module.__name__)
    return found


def has_part(group: str, name: str, part: str) -> bool:
    """Tell whether there is such a module inside an extension's folder.

    Raises:
        InputError: No extension of the group has this name, or it cannot be imported.
    """
    module = load(group, name)
    return hasattr(module, "__path__") and find_spec(f"{module.__name__}.{part}") is not None


def _module(group: str, name: str) -> str:
    known = names(group)
    if name not in known:
        kind = ONE_OF.get(group, group.rpartition(".")[2])
        raise InputError(unknown_name(kind, name, known))
    return known[name]


def imported(module: str) -> ModuleType:
    """Import a module of an extension.

    Raises:
        InputError: It cannot be imported.
    """
    try:
        return import_module(module)
    except Exception as error:  # its own code may raise anything
        what = f"cannot be imported: {type(error).__name__}: {error}"
        raise InputError(what, where=module) from error
