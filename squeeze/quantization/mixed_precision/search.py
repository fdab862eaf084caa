"""Find the fewest layers whose float kernels bring a loss within its limit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_THINNING = 8
"""At most so many layers are tried without once the limit is met."""


@dataclass
class SearchOutcome:
    """What was tried.

    Attributes:
        drops: The loss by what was float, in the order of trying; absolute, minus is a gain.
        chosen: The fewest layers that meet the limit; where nothing does, those with the least
            loss.
        met: Whether the limit is met.
    """

    drops: dict[tuple[str, ...], float] = field(default_factory=dict)
    chosen: tuple[str, ...] = ()
    met: bool = False


def search(
    ranked: Sequence[str],
    drop: Callable[[tuple[str, ...]], float],
    *,
    max_drop: float,
    max_layers: int | None = None,
) -> SearchOutcome:
    """Keep layers in float, worst first, until the loss is within its limit.

    The number is doubled until it suffices, then bisected down to the smallest that does; in the
    end single layers are dropped where the limit is met without them. Between two numbers the loss
    is assumed to fall with every layer; only what was measured is returned.

    Args:
        ranked: Layers, the one that loses most first.
        drop: Measures the loss with these layers in float.
        max_drop: The largest that is allowed.
        max_layers: The most layers that may be float; by default all but one.
    """
    found = SearchOutcome()
    most = len(ranked) - 1 if max_layers is None else min(max_layers, len(ranked))

    def holds(layers: tuple[str, ...]) -> bool:
        if layers not in found.drops:
            found.drops[layers] = drop(layers)
        return found.drops[layers] <= max_drop

    enough, short = 0, -1
    while not holds(tuple(ranked[:enough])):
        if enough >= most:
            found.chosen = min(found.drops, key=lambda layers: (found.drops[layers], len(layers)))
            return found
        short, enough = enough, min(max(1, 2 * enough), most)
    while enough - short > 1:
        middle = (enough + short) // 2
        enough, short = (middle, short) if holds(tuple(ranked[:middle])) else (enough, middle)
    found.chosen, found.met = _thinned(tuple(ranked[:enough]), holds), True
    return found


def _thinned(layers: tuple[str, ...], holds: Callable[[tuple[str, ...]], bool]) -> tuple[str, ...]:
    """Drop layers that are not needed, the least sensitive first.

    The last one is needed: without it, the limit was not met.
    """
    for layer in list(reversed(layers[:-1]))[:_THINNING]:
        fewer = tuple(other for other in layers if other != layer)
        if holds(fewer):
            layers = fewer
    return layers
