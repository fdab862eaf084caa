"""Which layers make a quantized file slower than the float file that it was made from."""

from collections.abc import Mapping, Sequence

import numpy as np

from squeeze.measure import statistics
from squeeze.results import Estimate, LayerTime


def slower(
    real: Mapping[str, Sequence[float]], quantized: Mapping[str, Sequence[float]]
) -> tuple[LayerTime, ...]:
    """Return the layers whose time grew beyond noise, those that cost most first.

    Args:
        real: Seconds of every run by layer, of the float file.
        quantized: The same of the other file, interleaved with it.
    """
    found = []
    for name, seconds in quantized.items():
        before = real.get(name, [0.0] * len(seconds))
        slow, fast = float(np.median(seconds)), float(np.median(before))
        if slow <= fast:
            continue
        # the profiler counts whole microseconds: what takes none has no ratio
        if fast == 0 or _ratio(before, seconds).high < 1:
            found.append(LayerTime(name=name, seconds=slow, float_seconds=fast))
    return tuple(sorted(found, key=lambda layer: layer.float_seconds - layer.seconds))


def _ratio(before: Sequence[float], after: Sequence[float]) -> Estimate:
    return statistics.speedup([[s] for s in before], [[s] for s in after])
