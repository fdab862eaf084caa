"""Make a quantized file from a module, after training or with it."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from squeeze.api import files
from squeeze.api.inputs import block_of
from squeeze.core import cpu as cpus
from squeeze.core import specs
from squeeze.core.errors import InputError
from squeeze.quantization import backend as backends
from squeeze.quantization import weight_bits
from squeeze.quantization.mixed_precision.step import FloatLayers
from squeeze.quantization.qat import step as qat
from squeeze.quantization.qat.agreement import agreement
from squeeze.quantization.qat.matching import TrainedRanges
from squeeze.quantization.qat.simulation import folded
from squeeze.quantization.recovery.recover import Recovered, recovered
from squeeze.quantization.request import Request
from squeeze.recipe import calibrators, schemes
from squeeze.recipe.schema import QatStep, QuantizeStep, Target
from squeeze.runtimes.base import Execution
from squeeze.store import scratch

if TYPE_CHECKING:
    from pathlib import Path

    from squeeze.core.types import Progress
    from squeeze.models.types import Model
    from squeeze.quantization.request import QuantizedFile
    from squeeze.recipe.schema import Quantization
    from squeeze.results import Epoch
    from squeeze.training.inputs import Training


@dataclass(frozen=True)
class MadeFile:
    """A quantized file as it was made.

    Attributes:
        outcome: Of the backend.
        notes: What was done, besides the backend's own.
        epochs: Of training with quantization.
        trained: The float model that such training leaves.
    """

    outcome: "QuantizedFile"
    notes: tuple[str, ...]
    epochs: "tuple[Epoch, ...]" = ()
    trained: "Model | None" = None


def target_of(runtime: str, cpu: str, step: "Quantization") -> Target:
    """Return where the file is going to run.

    Raises:
        InputError: The runtime or its backend is missing, or cannot hold the scheme.
    """
    target = block_of(
        Target, {"runtime": files.runtime_named(runtime), "cpu": cpu}, None, "quantize"
    )
    files.runtime_of(target.runtime)
    refused = schemes.left_out(step, target)
    name = schemes.backend_of(step.backend, target.runtime)
    refused = refused or schemes.backend_refusal(step.scheme, name)
    if refused is not None:
        raise InputError(refused, where=f"quantize: {step.scheme}")
    for key, what in calibrators.mistakes(step.calibrator):
        raise InputError(what, where=".".join(map(str, ("quantize: calibrator", *key))))
    spec = backends.load(name).spec
    if spec.missing():
        what = specs.not_installed(name, spec.missing(), spec.install)
        raise InputError(what, where="quantize: backend")
    return target


def after_training(
    path: "Path", model: "Model", layers: FloatLayers, target: Target, progress: "Progress"
) -> MadeFile:
    """Recover accuracy on a copy of the model, export it, and quantize the file.

    Raises:
        SqueezeError: The exporter or the quantizer fails.
    """
    step, split = layers.step, layers.calibration
    backend = backends.load(schemes.backend_of(step.backend, target.runtime))
    processor = cpus.named(target.cpu)
    recovery = Recovered(model, ())
    if isinstance(step, QuantizeStep):
        recovery = recovered(
            model,
            step,
            split,
            progress,
            bits=backend.bits(step, processor),
            own_grid=backend.own_grid,
        )
    with scratch() as folder:
        request = Request(
            files.write_float(recovery.model, target.runtime, "float", 1, folder),
            path,
            step,
            split,
            progress,
            None,
            keep_float=layers.keep_float(model, recovery.model, 1),
            model=recovery.model,
            cpu=processor,
        )
        outcome = layers.quantize(backend.quantize, request, target, 1)
    files.describe(path, model, 1)
    return MadeFile(outcome, recovery.notes)


def with_training(
    path: "Path", model: "Model", layers: FloatLayers, target: Target, training: "Training"
) -> MadeFile:
    """Train a copy of the model in a simulation of its file, and write the file.

    Raises:
        SqueezeError: The model cannot be traced, the loss is not finite, or the quantizer fails.
    """
    step, split = layers.step, layers.calibration
    if not isinstance(step, QatStep) or split is None:
        raise InputError("needs images for the ranges at the start", where="calibration")
    step = step.model_copy(update={"weight_bits": weight_bits.weight_bits(step, [target])})
    done = qat.train(model, model, step, training, split)
    ranges = TrainedRanges(done.model, done.ranges, split)
    flat = replace(done.model, module=folded(done.model.module))
    backend = backends.load(schemes.backend_of(step.backend, target.runtime))
    with scratch() as folder:
        request = Request(
            files.write_float(flat, target.runtime, "float", 1, folder),
            path,
            step,
            split,
            training.progress,
            None,
            ranges,
            keep_float=ranges.keep_float(flat, 1),
            model=flat,
            cpu=cpus.named(target.cpu),
        )
        outcome = layers.quantize(backend.quantize, request, target, 1)
    files.describe(path, model, 1)
    session = files.runtime_of(target.runtime).open_session(path, Execution())
    shared = agreement(session, ranges, split, training.task)
    return MadeFile(outcome, (*done.notes, shared), tuple(done.epochs), done.model)
