"""The latency of several files in several settings, timed interleaved with a baseline."""

from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from squeeze.api.benchmark import timed
from squeeze.api.cases import reference
from squeeze.measure import statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from squeeze.api.cases import Case
    from squeeze.core.types import Progress
    from squeeze.results import Estimate, Latency


@dataclass(frozen=True)
class FileTiming:
    """The latency of one file.

    Attributes:
        case: What was run.
        latency: Of its calls.
        speedup: The baseline's latency divided by this one, with its 95 % interval.
    """

    case: "Case"
    latency: "Latency"
    speedup: "Estimate"

    def to_dict(self) -> dict[str, object]:
        """Return plain data."""
        file = self.case.file
        return self.case.settings() | {
            "decoded": not self.case.is_raw,
            "input": {"shape": file.spec.shape, "layout": file.layout},
            "latency": self.latency.model_dump(),
            "speedup": self.speedup.model_dump(),
        }


def benchmark_group(group: "Sequence[Case]", progress: "Progress") -> list[FileTiming]:
    """Time files interleaved in this process.

    Args:
        group: See ``cases.groups``.
        progress: Where progress goes.

    Raises:
        InputError: A file does not run on its input.
    """
    for case in group:
        progress.say(f"{case.name}: {case.file.shape_summary(case.batch_size)}")
    threads, batch_size = group[0].threads, group[0].batch_size
    with ExitStack() as closing_all:
        sessions = [
            (closing_all.enter_context(closing(case.open_session())), case.file.spec)
            for case in group
        ]
        title = f"timing, threads {threads}, batch {batch_size}"
        timings = timed(sessions, batch_size, progress, title)
    baselines = [timings[group.index(reference(case, group))] for case in group]
    return [
        FileTiming(case, timing.latency, statistics.speedup(first.rounds_s, timing.rounds_s))
        for case, timing, first in zip(group, timings, baselines, strict=True)
    ]
