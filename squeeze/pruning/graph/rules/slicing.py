"""Ranges and single positions of channels that code picks by number."""

from typing import TYPE_CHECKING

from squeeze.pruning.graph import sizes
from squeeze.pruning.graph.call import Call
from squeeze.pruning.graph.labels import Labelled, varying
from squeeze.pruning.graph.rules.movement import moved, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from squeeze.pruning.graph.call import Rule

    Counts = Sequence[tuple[int, int, int, int]]
    """``(place, written, first, last)``: a number in the code, and the channels that it counts."""


def slices(call: Call) -> Labelled:
    """``x[..., start:end:step]``."""
    x: Labelled = call.args[0]
    dim = call.argument(1, "dim", 0) % len(x.shape)
    size = x.shape[dim]
    start, end = call.argument(2, "start") or 0, call.argument(3, "end")
    counts = [(2 * dim, start, *_counted(start, size))]
    if end is not None:
        counts.append((2 * dim + 1, end, *_counted(end, size)))
    if call.argument(4, "step", 1) == 1:
        return _range(call, dim, counts)
    for labels in x.maps:
        call.stay_picked(labels, dim, 0, size)
    return moved(call, x, lambda labels: run(call, labels))


def narrow(call: Call) -> Labelled:
    """``x.narrow(dim, start, length)``."""
    x: Labelled = call.args[0]
    dim, start, length = call.args[1:4]
    dim %= len(x.shape)
    start += x.shape[dim] if start < 0 else 0
    return _range(call, dim, [(0, start, 0, start), (1, length, start, start + length)])


def select(call: Call) -> Labelled:
    """One position along a dimension."""
    x: Labelled = call.args[0]
    dim = call.args[1] % len(x.shape)
    for labels in x.maps:
        call.stay_picked(labels, dim, 0, x.shape[dim])
    return moved(call, x, lambda labels: run(call, labels))


def _counted(end: int, size: int) -> tuple[int, int]:
    """Return the range of channels that an end counts: from the front, or from behind."""
    return (max(size + end, 0), size) if end < 0 else (0, min(end, size))


def _range(call: Call, dim: int, counts: "Counts") -> Labelled:
    """Pick a range; where the numbers in the code cannot be corrected, what they count stays."""
    x: Labelled = call.args[0]
    done = moved(call, x, lambda labels: run(call, labels))
    for labels in done.maps:
        if labels.shape[dim] > 1 or dim in {d for own in x.maps for d in varying(own)}:
            call.size(sizes.PIECE, 0, labels, dim)
    for labels in x.maps:
        for place, written, first, last in counts:
            is_all = first == 0 and last == x.shape[dim]
            if labels.shape[dim] == 1 or last == first or (is_all and call.name == "slice"):
                continue
            own = labels.narrow(dim, first, last - first)
            if not call.size(place, written, own, dim):
                call.stay_picked(labels, dim, first, last)
    return done


RULES: "Mapping[str, Rule]" = {"slice": slices, "narrow": narrow, "select": select}
