"""``squeeze.benchmark``."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.api import files
from squeeze.api.inputs import HasModel, at_least_one, model_of
from squeeze.api.progress import chosen
from squeeze.api.results import Benchmark, TimedModel
from squeeze.api.sessions import as_given, file_of
from squeeze.core import specs
from squeeze.core.errors import InputError
from squeeze.measure import latency, statistics
from squeeze.store import scratch

if TYPE_CHECKING:
    from squeeze.api.inputs import Example
    from squeeze.api.sessions import RunnableModel, Runs
    from squeeze.core.types import Progress
    from squeeze.recipe.schema import InputSpec
    from squeeze.runtimes.base import Session


def benchmark(
    models: "Sequence[Runs] | Mapping[str, Runs]",
    example: "Example | None" = None,
    *,
    runtime: str = "onnxruntime",
    threads: int = 1,
    batch_size: int = 1,
    progress: "Progress | bool | None" = None,
) -> Benchmark:
    """Time models interleaved in this process; the first one is the baseline.

    Files run in their own runtime. Modules are exported for ``runtime`` first, since that is what
    serves them; ``runtime="pytorch"`` times the modules themselves.

    Args:
        models: Modules in eval mode, results, bundles' folders or files; or a mapping of names to
            them.
        example: As for ``export``; needed where a model does not know its input.
        runtime: For modules: ``onnxruntime``, ``litert`` or ``pytorch``.
        threads: Inside one operator, at least 1.
        batch_size: Images per call, at least 1.
        progress: True, False, an object of your own, or None: shown in terminals and notebooks.

    Returns:
        Median and 95th percentile of the latency, and the speed-up over the first model with its
        95 % interval.

    Raises:
        InputError: Wrong use: nothing to time, a module in training mode, no example.

    Example:
        >>> squeeze.benchmark({"float": model, "int8": int8}, threads=1).models[1].speedup
        Estimate(value=1.9, low=1.87, high=1.93)
    """
    at_least_one(threads, "threads")
    at_least_one(batch_size, "batch_size")
    shown, named = chosen(progress), _named(models)
    is_module = runtime == specs.module_runtime()
    served_by = runtime if is_module else files.runtime_named(runtime)
    with ExitStack() as closing_all:
        folder = closing_all.enter_context(scratch())
        opened: dict[str, RunnableModel] = {}
        for name, given in named.items():
            subject = given
            if file_of(given) is None and not is_module:
                place = folder / str(len(opened))
                with shown.task(f"exporting {name} for {served_by}", 1) as advance:
                    subject = _exported(given, example, served_by, batch_size, place)
                    advance()
            opened[name] = as_given(subject, example, None, threads)
            closing_all.enter_context(closing(opened[name].session))
        sessions = [(one.session, one.input) for one in opened.values()]
        timings = timed(sessions, batch_size, shown, "timing")
    paths = (file_of(given) for given in named.values())
    return _result(
        list(zip(opened.items(), timings, strict=True)),
        threads,
        batch_size,
        tuple(path for path in paths if path is not None),
    )


def timed(
    sessions: "Sequence[tuple[Session, InputSpec]]",
    batch_size: int,
    progress: "Progress",
    title: str,
) -> list[latency.Timing]:
    """Time sessions interleaved, on random images.

    Args:
        sessions: Each with what it is fed.
        batch_size: Images per call.
        progress: Where the bar goes.
        title: The bar's text.
    """
    rng = np.random.default_rng(0)
    calls = {}
    for place, (session, spec) in enumerate(sessions):
        images = rng.standard_normal((batch_size, *spec.shape), dtype=np.float32)
        calls[place] = partial(session.invoke, session.prepare(images))
    timings = latency.interleaved(calls, progress, title)
    return [timings[place] for place in calls]


def _result(
    timed_models: "Sequence[tuple[tuple[str, RunnableModel], latency.Timing]]",
    threads: int,
    batch_size: int,
    paths: tuple[Path, ...],
) -> Benchmark:
    first = timed_models[0][1].rounds_s
    rows = [
        TimedModel(
            name,
            one.runtime,
            one.size_bytes,
            timing.latency,
            statistics.speedup(first, timing.rounds_s),
        )
        for (name, one), timing in timed_models
    ]
    noisy = [row.name for row in rows if row.latency.noisy]
    raw = [name for (name, one), _ in timed_models if one.decodes]
    notes = []
    if noisy:
        notes.append(f"noisy, the machine was busy: {', '.join(noisy)}")
    if raw:
        notes.append(f"without decoding, which an application has to do: {', '.join(raw)}")
    return Benchmark(tuple(rows), threads, batch_size, paths, tuple(notes))


def _named(models: "Sequence[Runs] | Mapping[str, Runs]") -> "dict[str, Runs]":
    """Return the models by name; those without one are called by their file or class."""
    if isinstance(models, Mapping):
        named = {str(name): model for name, model in models.items()}
    elif isinstance(models, Sequence) and not isinstance(models, str):
        named = {}
        for model in models:
            place = file_of(model)
            module = model.source.module if isinstance(model, HasModel) else model
            name = type(module).__name__ if place is None else place.name
            taken = sum(other.partition(" ")[0] == name for other in named)
            named[f"{name} {taken + 1}" if taken else name] = model
    else:
        named = {}
    if not named:
        shown = f"'{models}'" if isinstance(models, str) else f"a {type(models).__name__}"
        raise InputError(
            f"found {shown}, expected a list of models and files, or a mapping of names to them",
            where="models",
        )
    return named


def _exported(
    given: "Runs", example: "Example | None", runtime: str, batch_size: int, folder: Path
) -> Path:
    model = model_of(given, example)
    folder.mkdir()
    return files.write_float(model, runtime, "model", batch_size, folder)
