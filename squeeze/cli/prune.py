"""``squeeze prune``."""

from typing import Annotated, Any

import typer

from squeeze.cli import one_step, options

_USUAL_RATIO = 0.3


def prune(
    flags: one_step.Flags,
    pruning_ratio: Annotated[
        float | None,
        typer.Option(
            help="Fraction of every layer's channels to remove, [0, 1). "
            f"{_USUAL_RATIO} where nothing else says how much."
        ),
    ] = None,
    speedup: Annotated[
        float | None,
        typer.Option(help="Instead: the measured speed-up to reach on the first --target."),
    ] = None,
    macs: Annotated[
        float | None, typer.Option(help="Instead: so many times fewer multiply-adds.")
    ] = None,
    params: Annotated[
        float | None, typer.Option(help="Instead: so many times fewer parameters.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Instead: the most bytes of the float .onnx file.")
    ] = None,
    importance: Annotated[str, typer.Option(help="Criterion; see squeeze list importance.")] = "l2",
    ranking: Annotated[
        str, typer.Option(help="With a ratio: local, global or isomorphic.")
    ] = "local",
    rounds: Annotated[int, typer.Option(help="Prune in so many rounds.", min=1)] = 1,
    max_ratio: Annotated[
        float, typer.Option(help="Largest fraction of a layer's channels that may go.")
    ] = 0.9,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Layers never touched: a pattern or a class name; may be repeated."),
    ] = None,
    attention: Annotated[
        str, typer.Option(help="What attention loses: dimensions of every head, or whole heads.")
    ] = "dimensions",
    align: Annotated[
        str, typer.Option(help="Keep channel counts multiples of this, or auto.")
    ] = "auto",
    epochs: Annotated[
        int, typer.Option(help="Fine-tune for so many epochs; 0: not at all.", min=0)
    ] = 0,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 0.01,
    batch_size: options.BatchSize = 64,
) -> None:
    """Remove whole channels, fine-tune, export, measure, report."""
    runtime, threads = (flags.recipe["targets"][0][key] for key in ("runtime", "threads"))
    aims: dict[str, Any] = {}
    if speedup is not None:
        aims["speedup"] = {"runtime": runtime, "at_least": speedup, "threads": threads}
    if macs is not None:
        aims["macs"] = {"times_fewer": macs}
    if params is not None:
        aims["params"] = {"times_fewer": params}
    if size is not None:
        aims["size"] = {"at_most": size}
    if pruning_ratio is None and not aims:
        pruning_ratio = _USUAL_RATIO
    finetune = {"epochs": epochs, "lr": lr, "batch_size": batch_size} if epochs else None
    one_step.run(
        flags,
        {
            "method": "prune",
            "pruning_ratio": pruning_ratio,
            **aims,
            "importance": importance,
            "ranking": ranking,
            "rounds": rounds,
            "max_ratio": max_ratio,
            "keep": keep or [],
            "attention": attention,
            "align": int(align) if align.isdecimal() else align,
            "finetune": finetune,
        },
    )
