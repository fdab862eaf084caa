"""``squeeze bench``."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from squeeze.cli import options


def bench(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Bundle folders, .onnx or .tflite files; the first one is the baseline."
        ),
    ],
    input: options.Shape = None,
    threads: options.Threads = 1,
    batch_size: options.BatchSize = 1,
    quiet: options.Quiet = False,
    json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Time files in turns in one process, and give ratios with their intervals."""
    del debug
    import json as json_module

    import numpy as np

    from squeeze.cli import console
    from squeeze.cli.file import open_file
    from squeeze.measure import latency, statistics
    from squeeze.report import tables

    opened = {str(path): open_file(path, input) for path in files}
    rng = np.random.default_rng(0)
    sessions = {name: file.open_session(threads) for name, file in opened.items()}
    prepared = {
        name: session.prepare(
            rng.standard_normal((batch_size, *opened[name].spec.shape), dtype=np.float32)
        )
        for name, session in sessions.items()
    }
    timings = latency.in_turns(
        {name: partial(session.invoke, prepared[name]) for name, session in sessions.items()},
        console.Terminal(quiet=quiet),
        "timing",
    )
    for session in sessions.values():
        session.close()
    first = next(iter(timings.values())).round_medians_s
    ratios = {
        name: statistics.speedup(first, timing.round_medians_s) for name, timing in timings.items()
    }
    if json:
        console.out(
            json_module.dumps(
                {
                    name: {
                        "latency": timing.latency.model_dump(),
                        "speedup": ratios[name].model_dump(),
                    }
                    for name, timing in timings.items()
                },
                indent=1,
            )
        )
        return
    console.table(
        ("File", "Runtime", "Median", "p95", "Speed-up", ""),
        [
            (
                name,
                opened[name].runtime,
                tables.milliseconds(t.latency.median_s),
                tables.milliseconds(t.latency.p95_s),
                tables.ratio(ratios[name]),
                "noisy" if t.latency.noisy else "",
            )
            for name, t in timings.items()
        ],
        title=f"{threads} thread(s), batch {batch_size}",
    )
