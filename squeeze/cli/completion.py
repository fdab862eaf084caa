"""What the shell completes; names of extensions come from their files, and none is imported."""

from collections.abc import Callable, Iterable

from squeeze.core import plugins


def of_group(group: str) -> Callable[[str], list[str]]:
    """Return the completion of a flag whose values are the extensions of a group."""

    def complete(incomplete: str) -> list[str]:
        return starting_with(incomplete, plugins.names(group))

    return complete


def of(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Return the completion of a flag that has a few fixed values."""

    def complete(incomplete: str) -> list[str]:
        return starting_with(incomplete, names)

    return complete


def schemes(incomplete: str) -> list[str]:
    """Complete the name of a quantization scheme."""
    from squeeze.recipe.schemes import SCHEMES

    return starting_with(incomplete, SCHEMES)


def starting_with(incomplete: str, names: Iterable[str]) -> list[str]:
    """Return the names that begin with what was typed so far."""
    return [name for name in names if name.startswith(incomplete)]
