"""``squeeze prune``."""

from dataclasses import dataclass
from typing import Annotated

import typer

from squeeze.cli import completion, one_step, options

_USUAL_RATIO = 0.3


@dataclass(frozen=True, kw_only=True)
class PruneGoalFlags:
    """How much is removed: a fraction, or what makes the model reach a goal."""

    pruning_ratio: Annotated[
        float | None,
        typer.Option(
            help="Fraction of every layer's channels to remove, in [0, 1). "
            f"Default: {_USUAL_RATIO}, unless another flag sets the goal."
        ),
    ] = None
    speedup: Annotated[
        float | None,
        typer.Option(help="Goal instead: the measured speed-up on the first --target."),
    ] = None
    macs: Annotated[
        float | None, typer.Option(help="Goal instead: this many times fewer multiply-adds.")
    ] = None
    params: Annotated[
        float | None, typer.Option(help="Goal instead: this many times fewer parameters.")
    ] = None
    size: Annotated[
        int | None,
        typer.Option(help="Goal instead: most bytes of the float .onnx file."),
    ] = None

    def keys(self, measured: one_step.GoalFlags) -> dict[str, object]:
        """Return the keys of the step that set the goal.

        Args:
            measured: Says where a speed-up is measured.
        """
        goals: dict[str, object] = {}
        if self.speedup is not None:
            goals["speedup"] = {
                "runtime": measured.runtimes[0],
                "at_least": self.speedup,
                "threads": measured.threads,
            }
        if self.macs is not None:
            goals["macs"] = {"times_fewer": self.macs}
        if self.params is not None:
            goals["params"] = {"times_fewer": self.params}
        if self.size is not None:
            goals["size"] = {"at_most": self.size}
        ratio = _USUAL_RATIO if self.pruning_ratio is None and not goals else self.pruning_ratio
        return {"pruning_ratio": ratio} | goals


@dataclass(frozen=True, kw_only=True)
class ChannelFlags:
    """Which channels are removed."""

    importance: options.Importance = "l2"
    ranking: Annotated[
        str,
        typer.Option(
            help="With --pruning-ratio, what channels compete with: local (their layer), global or "
            "isomorphic.",
            autocompletion=completion.of(("local", "global", "isomorphic")),
        ),
    ] = "local"
    rounds: Annotated[int, typer.Option(help="Number of rounds to prune in.", min=1)] = 1
    max_ratio: Annotated[
        float, typer.Option(help="Largest fraction of a layer's channels to remove.")
    ] = 0.9
    keep: options.Keep = None
    attention: Annotated[
        str,
        typer.Option(help="What attention loses: dimensions of every head, or whole heads."),
    ] = "dimensions"
    align: Annotated[
        str, typer.Option(help="Keep channel counts multiples of this number, or auto.")
    ] = "auto"

    def keys(self) -> dict[str, object]:
        """Return the keys of the step that choose channels."""
        return {
            "importance": self.importance,
            "ranking": self.ranking,
            "rounds": self.rounds,
            "max_ratio": self.max_ratio,
            "keep": self.keep or [],
            "attention": self.attention,
            "align": int(self.align) if self.align.isdecimal() else self.align,
        }


def prune(
    flags: one_step.OneStepFlags,
    *,
    goal: PruneGoalFlags,
    channels: ChannelFlags,
    epochs: Annotated[int, typer.Option(help="Epochs of fine-tuning; 0 for none.", min=0)] = 0,
    lr: options.LearningRate = 0.01,
    batch_size: options.BatchSize = 64,
) -> None:
    """Remove whole channels, fine-tune, export and measure."""
    step = {
        "method": "prune",
        **goal.keys(flags.goals),
        **channels.keys(),
        "finetune": {"epochs": epochs, "lr": lr, "batch_size": batch_size} if epochs else None,
    }
    one_step.run(flags, step)
