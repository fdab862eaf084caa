"""Find extensions by file name, without importing them.

A file in one of the packages below is an extension and its name is the name in a recipe. A third
party adds its own through the entry-point group of the same name, for example::

    [project.entry-points."squeeze.pruning.importance"]
    my_criterion = "my_package.my_criterion"
"""

from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from squeeze.core.errors import InputError, unknown_name

IMPORTANCE = "squeeze.pruning.importance"
SPARSE = "squeeze.pruning.sparse"
LOSSES = "squeeze.distillation.losses"
BACKENDS = "squeeze.quantization.backends"
CALIBRATORS = "squeeze.quantization.calibration"
RUNTIMES = "squeeze.runtimes"
DATASETS = "squeeze.data.formats"

KINDS = {
    "importance": IMPORTANCE,
    "sparse": SPARSE,
    "losses": LOSSES,
    "backends": BACKENDS,
    "calibrators": CALIBRATORS,
    "runtimes": RUNTIMES,
    "datasets": DATASETS,
}
_ONE_OF = {
    SPARSE: "sparse training",
    LOSSES: "loss",
    BACKENDS: "backend",
    CALIBRATORS: "calibrator",
    RUNTIMES: "runtime",
    DATASETS: "format",
}
_NOT_EXTENSIONS = {"__init__", "base", "record"}


def names(group: str) -> dict[str, str]:
    """Return ``{extension name: module to import}`` of one group, importing none of them.

    A name that squeeze itself has cannot be taken over.
    """
    folder = Path(__file__).parents[1].joinpath(*group.split(".")[1:])
    found = {
        file.stem: f"{group}.{file.stem}"
        for file in sorted(folder.glob("*.py"))
        if file.stem not in _NOT_EXTENSIONS
    }
    return {entry.name: entry.module for entry in entry_points(group=group)} | found


def load(group: str, name: str) -> ModuleType:
    """Import one extension.

    Raises:
        InputError: No extension of the group has this name, or it cannot be imported.
    """
    known = names(group)
    if name not in known:
        kind = _ONE_OF.get(group, group.rpartition(".")[2])
        raise InputError(unknown_name(kind, name, known))
    try:
        return import_module(known[name])
    except Exception as error:  # its own code may raise anything
        what = f"cannot be imported: {type(error).__name__}: {error}"
        raise InputError(what, where=known[name]) from error
