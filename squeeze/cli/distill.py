"""``squeeze distill``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from squeeze.cli import one_step, options


def distill(
    flags: one_step.Flags,
    teacher: Annotated[
        str,
        typer.Option(
            help="baseline (the model itself, untrained), a model reference or a bundle folder.",
        ),
    ],
    teacher_weights: Annotated[str | None, typer.Option(help="Weights of the teacher.")] = None,
    loss: Annotated[
        list[str] | None, typer.Option(help="Distillation loss; may be repeated. Default: kd.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="Softens the probabilities.")] = 4.0,
    epochs: Annotated[int, typer.Option(min=1)] = 10,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 0.01,
    batch_size: options.BatchSize = 64,
) -> None:
    """Train the model to imitate a teacher, export, measure, report."""
    block: Any = teacher
    if teacher != "baseline":
        block = {"weights": teacher} if Path(teacher).is_dir() else {"build": teacher}
        if teacher_weights is not None:
            block["weights"] = teacher_weights
        if "build" in block:  # the arguments (the number of classes) are those of the model
            shared = tuple(f"steps.0.teacher.args.{pair}" for pair in flags.args)
            flags = replace(flags, overrides=shared + flags.overrides)
    one_step.run(
        flags,
        {
            "method": "distill",
            "teacher": block,
            "epochs": epochs,
            "lr": lr,
            "batch_size": batch_size,
            "losses": [{"name": name, "temperature": temperature} for name in loss or ["kd"]],
        },
    )
