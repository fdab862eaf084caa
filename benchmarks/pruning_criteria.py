"""Every pruning criterion against random channels: same widths, same fine-tuning, three seeds.

A ResNet-20 is trained per seed. Each criterion removes the same number of channels from every
layer (50 % and 70 % fewer multiply-adds), batch norms are re-estimated, and the model is fine-tuned
with the same images in the same order. Only the choice of the channels differs.

    python benchmarks/pruning_criteria.py --data /usr/share/datasets/fashion-mnist

Without ``--data`` it runs on scikit-learn's digits.
"""

import argparse
import statistics
from pathlib import Path

import images
import torch

from squeeze.core import plugins
from squeeze.data.sets import Data
from squeeze.measure import cost
from squeeze.models.types import Model
from squeeze.pruning.step import PruneContext, run
from squeeze.recipe.schema import PruneStep, TrainSettings
from squeeze.tasks.classification import task as classification
from squeeze.training.loop import train_

SHAPE = (1, 28, 28)
CUTS = {"50 %": 1 - 0.5**0.5, "70 %": 1 - 0.3**0.5}
"""Fewer MACs to the ratio for every layer: they go with its square."""


def pruned(model: Model, data: Data, criterion: str, ratio: float, seed: int) -> Model:
    """Prune at one ratio, aligned to nothing, and re-estimate batch norms."""
    step = PruneStep(pruning_ratio=ratio, importance=criterion, align=1)
    return run(model, step, PruneContext(seed, data.train, classification)).model


def spread(values: list[float]) -> str:
    """Return mean and standard deviation in percent."""
    return f"{100 * statistics.mean(values):.2f} ± {100 * statistics.stdev(values):.2f}"


def main() -> None:
    """Run all, writing the table after every seed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=4, help="of the baseline")
    parser.add_argument("--finetune", type=int, default=1, help="epochs after pruning")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    flags = parser.parse_args()
    shape = SHAPE if flags.data else (1, 12, 12)
    data = images.opened(flags.data, shape, flags.samples)
    names = sorted(plugins.names(plugins.IMPORTANCE), key=lambda name: (name == "random", name))
    before: dict[tuple[str, str], list[float]] = {}
    after: dict[tuple[str, str], list[float]] = {}
    full: list[float] = []
    macs: dict[str, float] = {}
    for seed in range(flags.seeds):
        model = images.baseline("builtin:resnet20", data, shape, flags.epochs, seed)
        full.append(images.top1(model, data))
        for cut, ratio in CUTS.items():
            for name in names:
                found = pruned(model, data, name, ratio, seed)
                macs[cut] = 1 - cost.macs(found) / cost.macs(model)
                before.setdefault((name, cut), []).append(images.top1(found, data))
                settings = TrainSettings(epochs=flags.finetune, lr=0.02, batch_size=128)
                torch.manual_seed(seed)
                train_(found.module, settings, images.training(data, seed))
                after.setdefault((name, cut), []).append(images.top1(found, data))
                print(seed, cut, name, before[name, cut][-1], after[name, cut][-1], flush=True)
        if seed:
            write(flags, data, names, (full, before, after, macs))


def write(
    flags: argparse.Namespace,
    data: Data,
    names: list[str],
    found: tuple[
        list[float],
        dict[tuple[str, str], list[float]],
        dict[tuple[str, str], list[float]],
        dict[str, float],
    ],
) -> None:
    """Write the table of all seeds so far."""
    full, before, after, macs = found
    lines = images.head("Pruning criteria at equal widths")
    set_name = "Fashion-MNIST" if flags.data else "scikit-learn digits"
    lines += [
        f"ResNet-20, {set_name}: {len(data.train or ())} training and {len(data.validation)} "
        f"validation images, {len(full)} seeds, {flags.epochs} epochs before and {flags.finetune} "
        f"after pruning. Unpruned: {spread(full)} % top-1. "
        + " ".join(f"'{cut}' removed {share:.1%} of the MACs." for cut, share in macs.items()),
        "",
        (
            "Top-1 in %, mean ± standard deviation over seeds; 'raw' is after batch-norm "
            "re-estimation and before fine-tuning."
        ),
        "",
        "| Criterion | " + " | ".join(f"{c} raw | {c} tuned" for c in macs) + " |",
        "|---|" + "---|---|" * len(macs),
    ]
    for name in names:
        cells = [f"{spread(before[name, c])} | {spread(after[name, c])}" for c in macs]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    flags.output.mkdir(parents=True, exist_ok=True)
    (flags.output / "pruning_criteria.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
