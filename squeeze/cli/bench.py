"""``squeeze bench``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import options

if TYPE_CHECKING:
    from squeeze.cli.file import File


def bench(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Bundle folders, .onnx or .tflite files; the first one is the baseline."
        ),
    ],
    input: options.Shape = None,
    layout: options.Layout = None,
    threads: options.Threads = 1,
    batch_size: options.BatchSize = 1,
    quiet: options.Quiet = False,
    json: options.AsJson = False,
    allow_code: options.AllowCode = None,
    debug: options.Debug = False,
) -> None:
    """Time files in turns in one process, and give ratios with their intervals."""
    del debug, allow_code
    import json as json_module

    import numpy as np

    from squeeze.cli import console
    from squeeze.cli.file import open_file
    from squeeze.measure import latency, statistics
    from squeeze.report import tables

    terminal = console.Terminal(quiet=quiet)
    opened = {str(path): open_file(path, input, others={"layout": layout}) for path in files}
    for file in opened.values():
        terminal.say(f"{file.path}: {file.told_shape(batch_size)}")
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
        terminal,
        "timing",
    )
    for session in sessions.values():
        session.close()
    alone = {name: "without decoding" for name, file in opened.items() if _is_raw(file)}
    first = next(iter(timings.values())).rounds_s
    ratios = {name: statistics.speedup(first, timing.rounds_s) for name, timing in timings.items()}
    if json:
        console.out(
            json_module.dumps(
                {
                    name: {
                        "decoded": name not in alone,
                        "input": {
                            "shape": opened[name].spec.shape,
                            "layout": opened[name].layout,
                            "batch_size": batch_size,
                        },
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
                ", ".join(filter(None, (alone.get(name), "noisy" if t.latency.noisy else None))),
            )
            for name, t in timings.items()
        ],
        title=f"{threads} thread(s), batch {batch_size}",
    )


def _is_raw(file: "File") -> bool:
    """Whether decoding, which an application of a detector has to do, is not in the file."""
    return not file.ends_at_boxes and file.detector() is not None
