"""``squeeze distill``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from squeeze.cli import completion, one_step, options
from squeeze.cli.values import numbers
from squeeze.core import plugins, reading


def distill(
    flags: one_step.Flags,
    teacher: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="baseline (the model as it is given), a model reference or a bundle folder.",
        ),
    ],
    teacher_weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="Weights of the teacher.")
    ] = None,
    student: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Model to train instead of MODEL: a reference or a bundle folder.",
        ),
    ] = None,
    student_weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="Weights of the student.")
    ] = None,
    loss: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=WEIGHT]",
            help="Distillation loss and its weight; may be repeated (see squeeze list losses). "
            "Default: kd.",
            autocompletion=completion.of_group(plugins.LOSSES),
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="Temperature of the losses. Default: that of each loss."),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Number of epochs.", min=1)] = 10,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 0.01,
    batch_size: options.BatchSize = 64,
) -> None:
    """Train a model to imitate a teacher, export and measure."""
    blocks: dict[str, Any] = {"teacher": teacher}
    given = (("teacher", teacher, teacher_weights), ("student", student, student_weights))
    for role, model, weights in given:
        if model is None or (role, model) == ("teacher", "baseline"):
            continue
        block = {"weights": model} if reading.is_folder(Path(model)) else {"build": model}
        if weights is not None:
            block["weights"] = weights
        if "build" in block:  # the arguments (the number of classes) are those of the model
            shared = tuple(f"steps.0.{role}.args.{pair}" for pair in flags.args)
            flags = replace(flags, overrides=shared + flags.overrides)
        blocks[role] = block
    one_step.run(
        flags,
        {
            "method": "distill",
            **blocks,
            "epochs": epochs,
            "lr": lr,
            "batch_size": batch_size,
            "losses": [_loss(text, temperature) for text in loss or ["kd"]],
        },
    )


def _loss(text: str, temperature: float | None) -> dict[str, Any]:
    """Read ``NAME`` or ``NAME=WEIGHT``."""
    name, equals, weight = text.partition("=")
    block: dict[str, Any] = {"name": name}
    if equals:
        block["weight"] = numbers(weight, "--loss")[0]
    if temperature is not None:
        block["temperature"] = temperature
    return block
