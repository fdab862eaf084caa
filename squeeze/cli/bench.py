"""``squeeze bench``."""

import json as json_format
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from squeeze.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from squeeze.cli.cases import Case
    from squeeze.cli.file import File
    from squeeze.core.types import Progress
    from squeeze.measure.latency import Timing
    from squeeze.results import Estimate

    Measured = list[tuple[Case, Timing, Estimate]]


def bench(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Bundle folders, .onnx or .tflite files."),
    ],
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File that speed-ups are relative to. Default: the first one."
        ),
    ] = None,
    target: options.Targets = None,
    threads: options.EveryThreads = None,
    batch_size: options.EveryBatchSize = None,
    input: options.Shape = None,
    layout: options.Layout = None,
    quiet: options.Quiet = False,
    json: options.AsJson = False,
    allow_code: options.AllowCode = None,
    debug: options.Debug = False,
) -> None:
    """Time files, interleaved in one process.

    All files with the same batch size and number of threads are timed in the same rounds; every
    speed-up has the 95 % interval of these rounds.
    """
    del debug, allow_code
    from squeeze.cli import cases, console
    from squeeze.cli.file import open_file
    from squeeze.store import scratch

    terminal = console.Terminal(quiet=quiet)
    wanted = cases.Settings(target or (), threads or (1,), batch_size or (1,))
    measured: Measured = []
    with scratch() as folder:
        opened = partial(open_file, shape=input, others={"layout": layout})
        exports = cases.BundleExports(opened, folder)
        for group in cases.groups(cases.with_baseline(files, baseline), wanted, exports):
            measured += _timed(group, terminal)
    if json:
        console.out(json_format.dumps(_plain(measured), indent=1))
        return
    _print(measured)


def _timed(group: "Sequence[Case]", progress: "Progress") -> "Measured":
    """Time files interleaved, and return each with its ratio to the baseline."""
    import numpy as np

    from squeeze.cli.cases import reference
    from squeeze.measure import latency, statistics

    for case in group:
        progress.say(f"{case.name}: {case.file.shape_summary(case.batch_size)}")
    rng = np.random.default_rng(0)
    calls = {}
    with ExitStack() as opened:
        for place, case in enumerate(group):
            session = opened.enter_context(closing(case.open_session()))
            shape = (case.batch_size, *case.file.spec.shape)
            images = session.prepare(rng.standard_normal(shape, dtype=np.float32))
            calls[place] = partial(session.invoke, images)
        title = f"timing, threads {group[0].threads}, batch {group[0].batch_size}"
        timings = latency.interleaved(calls, progress, title)
    found = []
    for place, case in enumerate(group):
        first = timings[group.index(reference(case, group))]
        found.append(
            (case, timings[place], statistics.speedup(first.rounds_s, timings[place].rounds_s))
        )
    return found


def _plain(measured: "Measured") -> dict[str, Any]:
    return {
        "baseline": measured[0][0].name,
        "measurements": [
            case.plain()
            | {
                "decoded": not _is_raw(case.file),
                "input": {"shape": case.file.spec.shape, "layout": case.file.layout},
                "latency": timing.latency.model_dump(),
                "speedup": ratio.model_dump(),
            }
            for case, timing, ratio in measured
        ],
    }


def _print(measured: "Measured") -> None:
    from squeeze.cli import console
    from squeeze.report import tables

    everything = [case for case, _, _ in measured]
    varying = measured[0][0].differs(everything)
    rows = [
        (
            case.name,
            *case.differs(everything).values(),
            tables.milliseconds(timing.latency.median_s),
            tables.milliseconds(timing.latency.p95_s),
            tables.ratio(ratio),
            ", ".join(
                note
                for note, holds in (
                    ("without decoding", _is_raw(case.file)),
                    ("noisy", timing.latency.noisy),
                )
                if holds
            ),
        )
        for case, timing, ratio in measured
    ]
    case = everything[0]
    same = {
        "Runtime": case.file.place,
        "Threads": f"{case.threads} thread{'s' * (case.threads > 1)}",
        "Batch": f"batch {case.batch_size}",
    }
    title = ", ".join(text for name, text in same.items() if name not in varying)
    console.table(("File", *varying, "Median", "p95", "Speed-up", ""), rows, title=title)


def _is_raw(file: "File") -> bool:
    """Whether decoding, which an application of a detector has to do, is not in the file."""
    return not file.ends_at_boxes and file.detector() is not None
