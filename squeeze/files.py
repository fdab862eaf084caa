"""The files that ship: every state exported for every target, and the quantize step on them."""

import json
import time
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.compress import ModelState
from squeeze.core import plugins
from squeeze.core.errors import SqueezeError
from squeeze.measure.target import Candidate
from squeeze.methods.quantize.request import Request
from squeeze.recipe.plan import PRECISIONS
from squeeze.recipe.schema import InputSpec, QuantizeStep, Recipe, Target
from squeeze.results import Row, State
from squeeze.runtimes.base import Execution
from squeeze.sources.models import Model
from squeeze.store import RunFolder, write_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from squeeze.core.types import Progress
    from squeeze.runtimes.base import Runtime
    from squeeze.sources.data import Split

_PARITY_LIMIT = 0.01


@dataclass
class Shipped:
    """What was made, by target and batch size, and what was left out and why."""

    candidates: dict[tuple[str, int], list[Candidate]] = field(default_factory=dict)
    skipped: list[Row] = field(default_factory=list)
    records: list[State] = field(default_factory=list)


def make(
    recipe: Recipe,
    states: list[ModelState],
    calibration: "Split | None",
    folder: RunFolder,
    progress: "Progress",
) -> Shipped:
    """Export every state for every target and apply the quantize step."""
    shipped = Shipped()
    quantize = next(
        ((n, s) for n, s in enumerate(recipe.steps, start=1) if isinstance(s, QuantizeStep)), None
    )
    notes: list[str] = []
    started = time.perf_counter()
    seconds = 0.0
    for target in recipe.targets:
        runtime: Runtime = plugins.load(plugins.RUNTIMES, target.runtime)
        reason = runtime.unavailable(target.device)
        for batch_size in target.batch_sizes:
            place = (target.label, batch_size)
            if reason is not None:
                if not target.if_available:
                    raise SqueezeError(
                        reason,
                        where=f"target {target.label}",
                        hint="set if_available: true to leave it out",
                    )
                shipped.skipped.append(_skipped(target, batch_size, states[-1].record.name, reason))
                continue
            shipped.candidates[place] = [
                _exported(state, target, runtime, batch_size, folder, progress) for state in states
            ]
            if quantize is None:
                continue
            started = time.perf_counter()
            number, step = quantize
            state = f"{number}-quantize"
            reason_float = _stays_float(step, target)
            if reason_float is not None:
                shipped.skipped.append(_skipped(target, batch_size, state, reason_float))
                continue
            candidate, found = _quantized(
                shipped.candidates[place][-1], state, step, target, calibration, folder, progress
            )
            shipped.candidates[place].append(candidate)
            notes += [
                f"{target.label}: {note}"
                for note in found
                if f"{target.label}: {note}" not in notes
            ]
            seconds += time.perf_counter() - started
    if quantize is not None:
        last = states[-1].record
        shipped.records.append(
            State(
                name=f"{quantize[0]}-quantize",
                method="quantize",
                params=last.params,
                macs=last.macs,
                seconds=seconds,
                notes=tuple(notes),
            )
        )
    return shipped


def check_parity(rows: "Iterable[Row]") -> None:
    """Refuse an export whose outputs are not those of the torch model.

    Raises:
        SqueezeError: A float file differs by more than 1 % of the largest output.
    """
    for row in rows:
        parity = row.parity
        if parity is not None and parity.max_difference > _PARITY_LIMIT * parity.scale:
            raise SqueezeError(
                f"its outputs differ from torch by up to {parity.max_difference:.3g}, outputs "
                f"reach {parity.scale:.3g}",
                where=f"{row.artifact} on {row.target}",
                hint="the exporter changed the model; please report the architecture",
            )


def export_file(
    state: str, model: Model, artifact: str, batch_size: int, folder: Path, log: Path | None
) -> Path:
    """Export one model as ``onnx`` or ``tflite`` and put a description beside the file."""
    batch = f".b{batch_size}" if artifact == "tflite" and batch_size > 1 else ""
    path = folder / f"{state}{batch}.{artifact}"
    if not path.exists():
        module = import_module("squeeze.export." + {"onnx": "onnx", "tflite": "litert"}[artifact])
        module.export(model, path, batch_size=batch_size, log=log)
        describe(path, model.input, batch_size if artifact == "tflite" else None)
    return path


def describe(path: Path, spec: InputSpec, batch_size: int | None) -> None:
    """Write ``<file>.json``: how an application has to prepare images for this file."""
    layout = "NHWC" if path.suffix == ".tflite" else "NCHW"
    record = {
        "file": path.name,
        "layout": layout,
        "batch": batch_size or "dynamic",
        "input": spec.model_dump(mode="json"),
        "prepare": "(pixels / 255 - mean) / std, after resizing and centre crop",
    }
    write_text(path.with_name(path.name + ".json"), json.dumps(record, indent=1))


def _exported(
    state: ModelState,
    target: Target,
    runtime: "Runtime",
    batch_size: int,
    folder: RunFolder,
    progress: "Progress",
) -> Candidate:
    name = state.record.name
    precision = "fp32" if target.precision in {"auto", "int8"} else target.precision
    if runtime.ARTIFACT == "bundle":
        return Candidate(name, state.bundle, precision, state.model)
    with progress.task(f"exporting {name} for {target.runtime}", 1) as advance:
        path = export_file(
            name,
            state.model,
            runtime.ARTIFACT,
            batch_size,
            folder.path / "artifacts",
            folder.path / "log.txt",
        )
        advance()
    return Candidate(name, path, precision, state.model)


def _stays_float(step: QuantizeStep, target: Target) -> str | None:
    """Return why the quantized model does not go to this target, or None."""
    if target.precision == "fp32":
        return "the target asks for fp32"
    if "int8" not in PRECISIONS.get((target.runtime, target.device), ("int8",)):
        return f"{target.runtime} holds no int8 file; the float model above ships here"
    if step.backend not in {"auto", target.runtime}:
        return f"the quantize step's backend is {step.backend}; the float model above ships here"
    return None


def _quantized(
    source: Candidate,
    state: str,
    step: QuantizeStep,
    target: Target,
    calibration: "Split | None",
    folder: RunFolder,
    progress: "Progress",
) -> tuple[Candidate, tuple[str, ...]]:
    if calibration is None:
        raise SqueezeError("static_int8 needs calibration data", where=state)
    backend = plugins.load(
        plugins.BACKENDS, target.runtime if step.backend == "auto" else step.backend
    )
    path = folder.artifact(source.path.name.replace(source.state, state, 1))
    notes: tuple[str, ...] = ()
    if not path.exists():
        outcome = backend.quantize(
            Request(source.path, path, step, calibration, progress, folder.path / "log.txt")
        )
        notes = outcome.notes
        batch = None if path.suffix == ".onnx" else target.batch_sizes[0]
        describe(path, calibration.spec, batch)
    return Candidate(state, path, "int8", None), notes


def _skipped(target: Target, batch_size: int, state: str, reason: str) -> Row:
    return Row(
        state=state,
        target=target.label,
        runtime=target.runtime,
        device=target.device,
        precision=target.precision,
        threads=target.threads,
        batch_size=batch_size,
        skipped=reason,
    )


def check_export(runtime: "Runtime", path: Path, model: Model, batch_size: int) -> float:
    """Return the largest difference of a float file from torch on random images.

    Raises:
        SqueezeError: It is more than 1 % of the largest output.
    """
    import numpy as np
    import torch

    images = np.random.default_rng(0).standard_normal(
        (batch_size, *model.input.shape), dtype=np.float32
    )
    with torch.inference_mode():
        expected = model.module.eval()(torch.from_numpy(images)).numpy()
    session = runtime.open_session(path, Execution())
    difference = float(np.abs(session.invoke(session.prepare(images)) - expected).max())
    session.close()
    if difference > _PARITY_LIMIT * float(np.abs(expected).max()):
        raise SqueezeError(
            f"its outputs differ from torch by up to {difference:.3g}", where=str(path)
        )
    return difference
