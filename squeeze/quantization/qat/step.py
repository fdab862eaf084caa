"""Quantization-aware training: the float model learns in a simulation of the int8 files."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from squeeze.models.copying import copied
from squeeze.models.types import Model
from squeeze.quantization.keep_float import kept
from squeeze.quantization.qat import simulation as simulations
from squeeze.quantization.qat.floats import in_float
from squeeze.quantization.qat.simulation import Ranges, Simulation
from squeeze.quantization.qat.unfold import unfolded
from squeeze.quantization.recovery import equalize
from squeeze.quantization.recovery.recover import LARGEST
from squeeze.results import Epoch
from squeeze.training import objective as objectives
from squeeze.training.inputs import Training
from squeeze.training.loop import train_

if TYPE_CHECKING:
    from squeeze.data.splits import Split
    from squeeze.recipe.schema import QatStep


@dataclass(frozen=True)
class Trained:
    """What training in the simulation leaves.

    Attributes:
        model: Float, its weights on the int8 grid.
        ranges: Of the activations.
        epochs: Their top-1 is that of the simulation.
        notes: For the report.
    """

    model: Model
    ranges: Ranges
    epochs: list[Epoch]
    notes: list[str]


def train(
    model: Model, teacher: Model, step: "QatStep", training: Training, calibration: "Split"
) -> Trained:
    """Train a copy of a model so that its int8 files compute what was trained.

    Batch norms are folded and channels equalized from the start: small channels that share a range
    with large ones have gradients from which little can be learned. Ranges start from those that
    calibration finds and learn along with the weights.

    Args:
        model: Float.
        teacher: Imitated where the step has losses.
        step: The recipe's numbers; its ``weight_bits`` is a number here.
        training: Data, task and seed.
        calibration: At most 256 images, for the ranges at the start.

    Raises:
        InputError: ``keep_float`` names no layer.
        SqueezeError: The model cannot be traced, or has an operation whose rounding in the runtimes
            is unknown.
    """
    bits = int(step.weight_bits)
    graph = simulations.folded(model.module)
    equal = equalize.equalize_(graph, calibration, training.progress, largest=LARGEST[bits])
    equalized = equalize.note(graph, equal)
    start = simulations.observed(graph, calibration, training.progress, step.calibrator)
    reasons = kept.reasons(model.module, step.keep_float, where="keep_float")
    simulated = simulations.simulation(graph, start, bits, in_float(graph, start, reasons))
    epochs, notes = _train_(simulated, teacher, step, training)
    notes[:0] = [
        f"{bits}-bit weights, {len(simulated.places)} learned ranges of activations",
        f"before training: {equalized}",
    ]
    module = unfolded(model.module, simulated.module)
    return Trained(replace(model, module=module), simulated.ranges(), epochs, notes)


def _train_(
    simulated: Simulation, teacher: Model, step: "QatStep", training: Training
) -> tuple[list[Epoch], list[str]]:
    if not step.losses:
        return train_(simulated.module, step, training), []

    import torch

    from squeeze.distillation.imitation import imitating
    from squeeze.distillation.teacher_cache import TeacherCache, repeat

    guide = copied(teacher.module).eval().requires_grad_(requires_grad=False)
    torch.manual_seed(training.seed)
    with imitating(
        simulated.module,
        guide,
        step.losses,
        labels=objectives.of_task(training.task, step),
        label_weight=step.label_weight,
        shape=teacher.input.shape,
        cache=TeacherCache() if repeat(step) else None,
    ) as imitation:
        epochs = train_(
            simulated.module, step, training, imitation.objective, extra=imitation.extra
        )
    return epochs, ["teacher: baseline", *imitation.summary()]
