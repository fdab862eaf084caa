"""Latency of several sessions, interleaved so that a busy machine slows all of them alike."""

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from squeeze.results import Latency

if TYPE_CHECKING:
    from squeeze.core.types import Progress

Name = TypeVar("Name", bound=Hashable)

_BLOCK_S = 0.02
_MAX_CALLS = 40
_MIN_ROUNDS, _MAX_ROUNDS = 15, 60
_BUDGET_S = 12.0
_WARM_UP_S, _WARM_UP_CALLS = 0.15, 3
_NOISY = 0.1


@dataclass(frozen=True)
class Timing:
    """Calls of one session.

    Attributes:
        latency: The figures.
        rounds_s: Seconds of every call, by round, for paired ratios: equally many in each round.
    """

    latency: Latency
    rounds_s: tuple[tuple[float, ...], ...]


def interleaved(
    calls: Mapping[Name, Callable[[], object]],
    progress: "Progress",
    label: str,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Name, Timing]:
    """Time each callable in every round, the order rotating from round to round.

    After a warm-up, each round runs a short block of every session; the first call of a block,
    which finds the caches cold, is not counted.

    Args:
        calls: Name to a function that runs one batch to its end.
        progress: Where the bar goes.
        label: The bar's text.
        clock: See ``block``.
    """
    names = list(calls)
    repeats = {name: _repeats(calls[name]) for name in names}
    round_s = sum(seconds * (count + 1) for count, seconds in repeats.values())
    rounds = int(np.clip(_BUDGET_S / max(round_s, 1e-9), _MIN_ROUNDS, _MAX_ROUNDS))
    raw: dict[Name, list[list[float]]] = {name: [] for name in names}
    with progress.task(label, rounds) as advance:
        for number in range(rounds):
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                raw[name].append(block(calls[name], repeats[name][0], clock))
            advance()
    return {name: _timing(blocks) for name, blocks in raw.items()}


def _repeats(call: Callable[[], object]) -> tuple[int, float]:
    """Warm up; return calls per block and seconds per call."""
    started, seconds = time.perf_counter(), list[float]()
    while len(seconds) < _WARM_UP_CALLS or time.perf_counter() - started < _WARM_UP_S:
        seconds += block(call, 1)
    typical = float(np.median(seconds))
    return int(np.clip(_BLOCK_S / max(typical, 1e-9), 1, _MAX_CALLS)), typical


def block(
    call: Callable[[], object], count: int, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Time ``count`` calls after one that is not counted; return seconds.

    Args:
        call: What is timed.
        count: How often.
        clock: ``time.thread_time`` does not count the time that other processes had the core, but
            sees only what runs in the calling thread.
    """
    call()
    seconds = []
    for _ in range(count):
        started = clock()
        call()
        seconds.append(clock() - started)
    return seconds


def _timing(blocks: list[list[float]]) -> Timing:
    seconds = np.concatenate(blocks)
    low, middle, high = np.percentile(seconds, [25, 50, 75])
    latency = Latency(
        median_s=float(middle),
        p95_s=float(np.percentile(seconds, 95)),
        iqr_s=float(high - low),
        calls=len(seconds),
        rounds=len(blocks),
        noisy=bool((high - low) > _NOISY * middle),
        raw_s=tuple(float(f"{value:.4g}") for value in seconds),
    )
    return Timing(latency, tuple(tuple(block) for block in blocks))
