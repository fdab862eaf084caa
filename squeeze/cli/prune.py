"""``squeeze prune``."""

from typing import Annotated, Any

import typer

from squeeze.cli import completion, one_step, options

_USUAL_RATIO = 0.3


def prune(
    flags: one_step.Flags,
    pruning_ratio: Annotated[
        float | None,
        typer.Option(
            help="Fraction of every layer's channels to remove, in [0, 1). "
            f"Default: {_USUAL_RATIO}, unless another flag sets the goal."
        ),
    ] = None,
    speedup: Annotated[
        float | None,
        typer.Option(help="Goal instead: the measured speed-up on the first --target."),
    ] = None,
    macs: Annotated[
        float | None, typer.Option(help="Goal instead: this many times fewer multiply-adds.")
    ] = None,
    params: Annotated[
        float | None, typer.Option(help="Goal instead: this many times fewer parameters.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Goal instead: most bytes of the float .onnx file."),
    ] = None,
    importance: options.Importance = "l2",
    ranking: Annotated[
        str,
        typer.Option(
            help="With --pruning-ratio, what channels compete with: local (their layer), global or "
            "isomorphic.",
            autocompletion=completion.of(("local", "global", "isomorphic")),
        ),
    ] = "local",
    rounds: Annotated[int, typer.Option(help="Number of rounds to prune in.", min=1)] = 1,
    max_ratio: Annotated[
        float, typer.Option(help="Largest fraction of a layer's channels to remove.")
    ] = 0.9,
    keep: options.Keep = None,
    attention: Annotated[
        str,
        typer.Option(help="What attention loses: dimensions of every head, or whole heads."),
    ] = "dimensions",
    align: Annotated[
        str, typer.Option(help="Keep channel counts multiples of this number, or auto.")
    ] = "auto",
    epochs: Annotated[int, typer.Option(help="Epochs of fine-tuning; 0 for none.", min=0)] = 0,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 0.01,
    batch_size: options.BatchSize = 64,
) -> None:
    """Remove whole channels, fine-tune, export and measure."""
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
