"""What a pattern of layers means, wherever a recipe or a flag takes one.

A pattern is the path of a module, in which ``*`` stands for anything (dots included), ``?`` for one
character and ``[ab]`` for one of them: ``features.0``, ``layer1.*``, ``*.bn2``; or the name of a
class: ``Conv2d``. It names the modules of that path or class; what is done to a module is done to
all that is inside. The model as a whole has no path and is not named by any pattern.
"""

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from squeeze.core.errors import InputError, nearest

if TYPE_CHECKING:
    from torch import nn

_SHOWN = 4
_MEANING = "a pattern is a module path (features.0*) or a class name (Conv2d)"


def layers_of(module: "nn.Module") -> dict[str, str]:
    """Return the path of every submodule with the name of its class, in the module's order."""
    return {path: type(part).__name__ for path, part in module.named_modules() if path}


def hits(layers: Mapping[str, str], pattern: str) -> list[str]:
    """Return the paths of the modules that a pattern names, maybe none.

    Args:
        layers: Path to class name, as ``layers_of`` returns them.
        pattern: A path with wildcards, or a class name.
    """
    return [path for path, kind in layers.items() if kind == pattern or fnmatchcase(path, pattern)]


def matching(layers: Mapping[str, str], pattern: str, *, where: str) -> list[str]:
    """Return the paths of the modules that a pattern names, at least one.

    Raises:
        InputError: It names none; the message has the nearest names.
    """
    found = hits(layers, pattern)
    if not found:
        raise none_matches(pattern, layers, where=where)
    return found


def none_matches(
    pattern: str, layers: Mapping[str, str], *, where: str, others: Iterable[str] = ()
) -> InputError:
    """Return the error for a pattern that names nothing.

    Args:
        pattern: What was given.
        layers: What there is.
        where: The key that the pattern stands at.
        others: Further names that it might have been, such as those of parameters.
    """
    further = list(others)
    kind = "layer or parameter" if further else "layer"
    known = list(dict.fromkeys([*layers, *layers.values(), *further]))
    plain = pattern.strip("*.")
    close = get_close_matches(plain, known, n=_SHOWN, cutoff=0.3)
    near = f"; nearest: {', '.join(close or known[:_SHOWN])}" if known else ""
    return InputError(
        f"'{pattern}' matches no {kind}{nearest(plain, known)}",
        where=where,
        hint=f"{_MEANING}{near}",
    )


def inside(path: str, modules: Collection[str]) -> bool:
    """Tell whether a path is one of these modules or lies in one of them."""
    parts = path.split(".")
    return any(".".join(parts[:count]) in modules for count in range(1, len(parts) + 1))
