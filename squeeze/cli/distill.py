"""``squeeze distill``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from squeeze.cli import completion, one_step, options
from squeeze.cli.values import number
from squeeze.core import plugins, reading

_BASELINE = "baseline"


@dataclass(frozen=True, kw_only=True)
class PairFlags:
    """Who learns from whom."""

    teacher: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="baseline (the model as it is given), a model reference or a bundle folder.",
        ),
    ]
    teacher_weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="Weights of the teacher.")
    ] = None
    student: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Model to train instead of MODEL: a reference or a bundle folder.",
        ),
    ] = None
    student_weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="Weights of the student.")
    ] = None

    def keys(self) -> dict[str, object]:
        """Return the keys of the step that name both models; None was not given."""
        teacher: object = _BASELINE
        if self.teacher != _BASELINE:
            teacher = _block(self.teacher, self.teacher_weights)
        student = None if self.student is None else _block(self.student, self.student_weights)
        return {"teacher": teacher, "student": student}

    def built(self) -> Iterator[str]:
        """Yield the roles whose models are built by a factory."""
        for role, model in (("teacher", self.teacher), ("student", self.student)):
            if model not in {None, _BASELINE} and not reading.is_folder(Path(model or "")):
                yield role


@dataclass(frozen=True, kw_only=True)
class LossFlags:
    """What is imitated."""

    loss: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=WEIGHT]",
            help="Distillation loss and its weight; may be repeated (see squeeze list losses). "
            "Default: kd.",
            autocompletion=completion.of_group(plugins.LOSSES),
        ),
    ] = None
    temperature: Annotated[
        float | None,
        typer.Option(help="Temperature of the losses. Default: that of each loss."),
    ] = None

    def blocks(self) -> list[dict[str, object]]:
        """Return the losses' blocks.

        Raises:
            InputError: A weight that is no number.
        """
        blocks = []
        for text in self.loss or ["kd"]:
            name, equals, weight = text.partition("=")
            block: dict[str, object] = {"name": name}
            if equals:
                block["weight"] = number(weight, "--loss")
            if self.temperature is not None:
                block["temperature"] = self.temperature
            blocks.append(block)
        return blocks


def distill(
    flags: one_step.OneStepFlags,
    *,
    pair: PairFlags,
    losses: LossFlags,
    epochs: Annotated[int, typer.Option(help="Number of epochs.", min=1)] = 10,
    lr: options.LearningRate = 0.01,
    batch_size: options.BatchSize = 64,
) -> None:
    """Train a model to imitate a teacher, export and measure."""
    step = {
        "method": "distill",
        **pair.keys(),
        "epochs": epochs,
        "lr": lr,
        "batch_size": batch_size,
        "losses": losses.blocks(),
    }
    # the arguments of a factory (the number of classes) are those of the model
    arguments = flags.model.arguments
    shared = [f"steps.0.{role}.args.{text}" for role in pair.built() for text in arguments]
    one_step.run(flags, step, overrides=shared)


def _block(model: str, weights: str | None) -> dict[str, object]:
    """Return the model block of a reference or a bundle folder."""
    block: dict[str, object] = (
        {"weights": model} if reading.is_folder(Path(model)) else {"build": model}
    )
    return block if weights is None else block | {"weights": weights}
