"""What a name like ``torchvision:resnet18`` or ``./model.py:make`` means."""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from squeeze.core.errors import InputError, nearest


def function(reference: str, folder: Path) -> Callable[..., Any]:
    """Import the function that ``./file.py:name`` or ``package.module:name`` names.

    Args:
        reference: The reference.
        folder: Where a relative file path starts.

    Raises:
        InputError: No such file, module or function, or its import failed.
    """
    head, _, name = reference.rpartition(":")
    is_file = head.endswith(".py")
    if not name or not (is_file or head.replace(".", "").isidentifier()):
        raise InputError(
            f"'{reference}' names no function",
            hint="name one as ./file.py:function or package.module:function",
        )
    module = _file_module(folder / head) if is_file else _module(head, reference)
    found = getattr(module, name, None)
    if not callable(found):
        names = [key for key, value in vars(module).items() if callable(value)]
        raise InputError(
            f"there is no function '{name}' in {head}{nearest(name, names)}", where=reference
        )
    return found  # type: ignore[no-any-return]


def is_transformers_folder(path: Path) -> bool:
    """Tell whether a folder is what transformers' ``save_pretrained`` leaves, and no bundle."""
    return (path / "config.json").is_file() and not (path / "architecture.json").is_file()


def package_file(reference: str) -> Path:
    """Return the path of ``package:NAME/FILE``, a file inside an installed Python package.

    Raises:
        InputError: The package is not installed or has no such file.
    """
    package, _, inner = reference.removeprefix("package:").partition("/")
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"the Python package '{package}' is not installed",
            where=reference,
            hint=f"pip install the distribution that brings '{package}'",
        )
    path = Path(next(iter(spec.submodule_search_locations))) / inner
    if not path.is_file():
        raise InputError(f"the package '{package}' has no file '{inner}'", where=reference)
    return path


def weights_path(weights: str | None, folder: Path) -> Path | None:
    """Return where the weights of a model block are.

    Args:
        weights: A path, ``package:NAME/FILE``, or None.
        folder: Where a relative path starts.

    Raises:
        InputError: There is nothing.
    """
    if weights is None:
        return None
    if weights.startswith("package:"):
        return package_file(weights)
    path = folder / weights
    if not path.exists():
        raise InputError("no such file or folder", where=str(path))
    return path


def _file_module(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise InputError("no such file", where=str(path))
    name = f"squeeze_user_{path.stem}_{abs(hash(str(path))):x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError("cannot be imported", where=str(path))
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(
            f"its import failed: {type(error).__name__}: {error}", where=str(path)
        ) from error
    return module


def _module(name: str, reference: str) -> ModuleType:
    try:
        return import_module(name)
    except Exception as error:  # no such module, or whatever its code raises
        told = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise InputError(f"cannot import '{name}': {told}", where=reference) from error
