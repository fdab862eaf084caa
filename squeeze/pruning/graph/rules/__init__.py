"""What every operator does to labels, one file per family."""

from typing import TYPE_CHECKING

from squeeze.pruning.graph.rules import (
    contraction,
    convolution,
    elementwise,
    movement,
    norms,
    reduction,
    sequences,
    slicing,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from squeeze.pruning.graph.call import Rule

RULES: "Mapping[str, Rule]" = {
    **elementwise.RULES,
    **movement.RULES,
    **slicing.RULES,
    **contraction.RULES,
    **convolution.RULES,
    **sequences.RULES,
    **norms.RULES,
    **reduction.RULES,
}
"""Operator, without a trailing ``_``, to its rule."""
