"""``squeeze bench``."""

import json
from typing import TYPE_CHECKING

from squeeze.cli.flag_groups import Switches
from squeeze.cli.measured_files import MeasuredFiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from squeeze.api.benchmark_files import FileTiming


def bench(measured: MeasuredFiles, *, switches: Switches) -> None:
    """Time files, interleaved in one process.

    All files with the same batch size and number of threads are timed in the same rounds; every
    speed-up has the 95 % interval of these rounds.
    """
    from squeeze.api import cases
    from squeeze.api.benchmark_files import benchmark_group
    from squeeze.cli import console
    from squeeze.store import scratch

    terminal = console.Terminal(quiet=switches.quiet)
    timings: list[FileTiming] = []
    with scratch() as folder:
        for group in cases.groups(measured.in_order, measured.settings(), folder):
            timings += benchmark_group(group, terminal)
    if switches.json:
        rows = [timing.to_dict() for timing in timings]
        shown = {"baseline": timings[0].case.name, "measurements": rows}
        console.out(json.dumps(shown, indent=1))
        return
    _print(timings)


def _print(timings: "Sequence[FileTiming]") -> None:
    from squeeze.cli import console
    from squeeze.report import tables

    cases = [timing.case for timing in timings]
    case, varying = cases[0], cases[0].differs(cases)
    rows = [
        (
            timing.case.name,
            *timing.case.differs(cases).values(),
            tables.milliseconds(timing.latency.median_s),
            tables.milliseconds(timing.latency.p95_s),
            tables.ratio(timing.speedup),
            _note(timing),
        )
        for timing in timings
    ]
    same = {
        "Runtime": case.file.place,
        "Threads": f"{case.threads} thread{'s' * (case.threads > 1)}",
        "Batch": f"batch {case.batch_size}",
    }
    title = ", ".join(text for name, text in same.items() if name not in varying)
    console.table(("File", *varying, "Median", "p95", "Speed-up", ""), rows, title=title)


def _note(timing: "FileTiming") -> str:
    notes = {"without decoding": timing.case.is_raw, "noisy": timing.latency.noisy}
    return ", ".join(note for note, holds in notes.items() if holds)
