"""What a name like ``torchvision:resnet18`` or ``./model.py:make`` means."""

import inspect
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from squeeze.core.errors import InputError, nearest
from squeeze.core.permission import in_standard_library

_STANDARD = "is in Python's standard library, which builds neither models nor data"
_OURS = Path(__file__).parents[1]


def function(reference: str, folder: Path) -> Callable[..., object]:
    """Import the function that ``./file.py:name`` or ``package.module:name`` names.

    Args:
        reference: The reference.
        folder: Where a relative file path starts.

    Raises:
        InputError: No such file, module or function, one of the standard library, or its import
            failed.
    """
    if in_standard_library(reference):
        raise InputError(_STANDARD, where=reference)
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
    origin = getattr(found, "__module__", None) or ""
    if (inspect.isroutine(found) or inspect.isclass(found)) and in_standard_library(f"{origin}:"):
        raise InputError(f"{_STANDARD}: it is {origin}.{found.__name__}", where=reference)
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
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise failure(error, "cannot be imported", where=str(path)) from error
    return module


def _module(name: str, reference: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise InputError(f"cannot import '{name}': {error}", where=reference) from error
        raise failure(error, f"cannot import '{name}'", where=reference) from error
    except (Exception, SystemExit) as error:
        raise failure(error, f"cannot import '{name}'", where=reference) from error


def failure(error: BaseException, what: str, *, where: str) -> InputError:
    """Return the error to show for what the user's own code raised: what, and at which line.

    Args:
        error: What it raised.
        what: What could not be done because of it.
        where: The reference or file of the user's.
    """
    line = _line_of(error)
    at = f" ({line[0]}:{line[1]})" if line else ""
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        beside = line and (Path(line[0]).parent / f"{package}.py").is_file()
        do = f"pip install the distribution that brings '{package}'"
        if beside:
            do = f"{package}.py lies beside that file: put its folder into PYTHONPATH"
        return InputError(
            f"{what}: the Python package '{error.name}' is not installed{at}",
            where=where,
            hint=do,
        )
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hint = None if line else "check the arguments that it is called with"
    return InputError(f"{what}: {reason}{at}", where=where, hint=hint)


def _line_of(error: BaseException) -> tuple[str, int] | None:
    """Return file and line of the innermost code of the user's that an error came through."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return error.filename, error.lineno
    trail = [
        (frame.filename, frame.lineno or 0)
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_file() and not Path(frame.filename).is_relative_to(_OURS)
    ]
    own = [place for place in trail if not _is_library(Path(place[0]))]
    return own[-1] if own else next((place for place in trail if _is_installed(place[0])), None)


def _is_library(file: Path) -> bool:
    """Tell Python's own and installed modules from code that is being written."""
    return _is_installed(str(file)) or file.is_relative_to(Path(inspect.__file__).parent)


def _is_installed(file: str) -> bool:
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)
