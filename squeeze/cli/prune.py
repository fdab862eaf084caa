"""``squeeze prune``."""

from typing import Annotated

import typer

from squeeze.cli import one_step, options


def prune(
    flags: one_step.Flags,
    pruning_ratio: Annotated[
        float, typer.Option(help="Fraction of every layer's channels to remove, [0, 1).")
    ] = 0.3,
    importance: Annotated[str, typer.Option(help="Criterion; see squeeze list.")] = "l2",
    align: Annotated[int, typer.Option(help="Keep channel counts multiples of this.")] = 8,
    epochs: Annotated[
        int, typer.Option(help="Fine-tune for so many epochs; 0: not at all.", min=0)
    ] = 0,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 0.01,
    batch_size: options.BatchSize = 64,
) -> None:
    """Remove whole channels, fine-tune, export, measure, report."""
    finetune = {"epochs": epochs, "lr": lr, "batch_size": batch_size} if epochs else None
    one_step.run(
        flags,
        {
            "method": "prune",
            "pruning_ratio": pruning_ratio,
            "importance": importance,
            "align": align,
            "finetune": finetune,
        },
    )
