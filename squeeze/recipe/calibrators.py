"""What a calibrator block says, checked against the calibrator's own file. Needs no torch."""

from collections.abc import Iterator
from types import ModuleType

from squeeze.core import plugins
from squeeze.core.errors import InputError, unknown_name
from squeeze.recipe import options
from squeeze.recipe.document import Path_
from squeeze.recipe.schema import Block, CalibratorBlock


def load(block: CalibratorBlock) -> tuple[ModuleType, Block]:
    """Import a calibrator's file; return it with its options: the recipe's and its defaults.

    Raises:
        InputError: There is none, it is not one, or it does not take these options.
    """
    known = plugins.names(plugins.CALIBRATORS)
    if block.name not in known:
        raise InputError(unknown_name("calibrator", block.name, known))
    module = plugins.load(plugins.CALIBRATORS, block.name)
    missing = [n for n in ("NEEDS_VALUES", "Options", "gatherer") if not hasattr(module, n)]
    if missing:
        raise InputError(
            f"is not a calibrator: it has no {', '.join(missing)}", where=module.__name__
        )
    found = list(_option_mistakes(block, module))
    if found:
        raise InputError(found[0][1], where=f"calibrator {block.name}")
    return module, module.Options.model_validate(_given(block))


def mistakes(block: CalibratorBlock) -> Iterator[tuple[Path_, str]]:
    """Return what cannot work in a calibrator block, each with its place inside the block."""
    known = plugins.names(plugins.CALIBRATORS)
    if block.name in known:
        yield from _option_mistakes(block, plugins.load(plugins.CALIBRATORS, block.name))
    else:
        yield ("name",), unknown_name("calibrator", block.name, known)


def _given(block: CalibratorBlock) -> dict[str, object]:
    own: dict[str, object] = {} if block.percentile is None else {"percentile": block.percentile}
    return own | block.options


def _option_mistakes(block: CalibratorBlock, module: ModuleType) -> Iterator[tuple[Path_, str]]:
    if block.percentile is not None and "percentile" not in module.Options.model_fields:
        yield ("percentile",), f"'{block.name}' has no percentile"
        return
    if block.percentile is not None and "percentile" in block.options:
        yield ("percentile",), "is given twice: here and in options"
        return
    for place, what in options.mistakes(module.Options, _given(block), block.name):
        own = place[:1] == ("percentile",) and block.percentile is not None
        yield ("percentile",) if own else ("options", *place), what
