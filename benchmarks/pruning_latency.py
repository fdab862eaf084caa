"""Pruning to a measured latency against uniform ratios at the same measured latency.

Per model and seed: train a baseline; ``speedup: {at_least: 1.7}`` finds widths for ONNX Runtime on
one thread; Torch-Pruning prunes the same baseline uniformly (same criterion, same samples, its own
pruner, channels rounded to 8), at the smallest ratio whose measured latency is at most that of
squeeze. Both are re-estimated and fine-tuned with the same budget. All three files are then timed
in turns. Latency is that of 224-pixel inputs, as such models are used; training and accuracy, which
have to be repeated often, are at 32 pixels with the same widths.

    python benchmarks/pruning_latency.py --data /usr/share/datasets/fashion-mnist

Without ``--data`` it runs on scikit-learn's digits.
"""

import argparse
import copy
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import images
import torch
import torch_pruning
from torch.optim.swa_utils import update_bn

from squeeze.core import plugins
from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.measure import cost
from squeeze.models.types import Model, PruningRound
from squeeze.pruning.graph import find_groups
from squeeze.pruning.groups import PruningGroups
from squeeze.pruning.importance.base import Evidence
from squeeze.pruning.step import PruneContext, run, scores
from squeeze.pruning.variant_timer import VariantTimer
from squeeze.recipe.schema import InputSpec, PruneStep, Speedup, TrainSettings
from squeeze.tasks.classification import task as classification
from squeeze.training.loop import train_

GOAL = 1.7


@dataclass
class Column:
    """What one method gave, per seed."""

    speedups: list[float] = field(default_factory=list)
    macs: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)
    tuned: list[float] = field(default_factory=list)


def uniform(model: Model, data: Data, step: PruneStep, ratio: float) -> Model:
    """Prune every layer at one ratio with Torch-Pruning's own pruner."""
    module = copy.deepcopy(model.module).eval()
    # squeeze's own criterion: the two must differ in widths only, not in what they rank by
    evidence = Evidence(module, lambda: drawn(data, step), torch.nn.functional.cross_entropy)
    criterion = plugins.load(plugins.IMPORTANCE, step.importance).scorer(evidence)
    last = [m for m in module.modules() if isinstance(m, torch.nn.Linear)][-1]
    pruner = torch_pruning.pruner.BasePruner(
        module,
        torch.zeros(2, *model.input.shape),
        importance=criterion,
        pruning_ratio=ratio,
        ignored_layers=[last],
        round_to=8,
        in_channel_groups={},
        out_channel_groups={},
        num_heads={},
        channel_groups={},
        customized_pruners={},
    )
    pruner.step()
    module.zero_grad(set_to_none=True)
    removed = {name: tuple(map(int, found)) for name, _, found in pruner.pruning_history()}
    return model.pruned(module, PruningRound(importance=step.importance, removed=removed))


def drawn(data: Data, step: PruneStep) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the samples that squeeze's criterion and re-estimation see."""
    split = PruneContext(0, data.train).drawn(step.samples)
    if split is None:
        raise SystemExit("there is no training data")
    for x, y in split.batches(64):
        yield torch.from_numpy(x), torch.from_numpy(y)


def same_latency(
    model: Model, data: Data, step: PruneStep, goal: Model, watch: VariantTimer
) -> tuple[Model, float]:
    """Return the uniformly pruned model with the smallest ratio that is as fast as ``goal``."""
    low, high = 0.0, 0.9
    best = uniform(model, data, step, high)
    target = watch.ratio(goal)
    for _ in range(7):
        middle = (low + high) / 2
        found = uniform(model, data, step, middle)
        if watch.ratio(found) <= target:
            high, best = middle, found
        else:
            low = middle
    return best, high


def kept_importance(
    found: PruningGroups, scored: dict[str, torch.Tensor | None], model: Model
) -> float:
    """Return the share of all importance whose channels the model still has."""
    removed = model.architecture.pruning[-1].removed
    total = lost = 0.0
    for group in found.prunable:
        score = scored[group.name]
        if score is None:
            continue
        total += float(score.sum())
        gone = set(removed.get(group.name, ()))
        lost += sum(
            float(score[unit]) for unit in range(group.units) if gone & set(group.of_unit(unit))
        )
    return 1 - lost / total


def finished(
    column: Column, full: Model, found: Model, data: Data, budget: tuple[int, int]
) -> Model:
    """Fine-tune a pruned model and note its accuracy before and after."""
    epochs, seed = budget
    column.macs.append(cost.macs(full) / cost.macs(found))
    column.raw.append(images.top1(found, data))
    settings = TrainSettings(epochs=epochs, lr=0.02, batch_size=128)
    torch.manual_seed(seed)
    train_(found.module, settings, images.training(data, seed))
    column.tuned.append(images.top1(found, data))
    return found


def main() -> None:
    """Run all, writing the table after every seed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--models", default="torchvision:resnet18,torchvision:mobilenet_v2")
    parser.add_argument("--importance", default="taylor", choices=["taylor", "l2"])
    parser.add_argument("--side", type=int, default=32, help="of training and accuracy")
    parser.add_argument("--latency-side", type=int, default=224)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=3, help="of the baseline")
    parser.add_argument("--finetune", type=int, default=1, help="epochs after pruning")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    flags = parser.parse_args()
    shape = (3, flags.side, flags.side)
    data = images.opened(flags.data, shape, flags.samples)
    done: list[tuple[str, list[float], dict[str, Column], list[str]]] = []
    for name in flags.models.split(","):
        columns = {"squeeze": Column(), "uniform Torch-Pruning": Column()}
        full: list[float] = []
        notes: list[str] = []
        done.append((name, full, columns, notes))
        for seed in range(flags.seeds):
            model = images.baseline(name, data, shape, flags.epochs, seed)
            full.append(images.top1(model, data))
            spec = InputSpec(shape=(3, flags.latency_side, flags.latency_side))
            timed = replace(model, architecture=replace(model.architecture, input=spec))
            compare(timed, data, columns, (flags.importance, flags.finetune, seed), notes)
            print(name, seed, full, columns, notes[-1], flush=True)
            write(flags, data, done)


def compare(
    model: Model,
    data: Data,
    columns: dict[str, Column],
    how: tuple[str, int, int],
    notes: list[str],
) -> None:
    """Prune one baseline both ways, fine-tune, and time all three in turns."""
    importance, epochs, seed = how
    speedup = Speedup(runtime="onnxruntime", at_least=GOAL)
    step = PruneStep(speedup=speedup, importance=importance)
    around = PruneContext(0, data.train, classification, Silent())
    found = find_groups(model)
    scored = scores(found, step, around)
    outcome = run(model, step, around)
    notes.append("; ".join(outcome.notes))
    watch = VariantTimer(model, speedup)
    other, ratio = same_latency(model, data, step, outcome.model, watch)
    notes[-1] += f"; uniform ratio {ratio:.3f}"
    both = {"squeeze": outcome.model, "uniform Torch-Pruning": other}
    # the uniform model gets the same re-estimation as squeeze's has had
    update_bn((x for x, _ in drawn(data, step)), other.module)
    other.module.eval()
    for label, pruned in both.items():
        columns[label].kept.append(kept_importance(found, scored, pruned))
        finished(columns[label], model, pruned, data, (epochs, seed))
    for label, estimate in zip(both, watch.speedups(list(both.values())), strict=True):
        columns[label].speedups.append(estimate.value)
    watch.close()


def spread(values: list[float], scale: float = 1.0) -> str:
    """Return mean and standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{scale * statistics.mean(values):.2f} ± {scale * deviation:.2f}"


def write(
    flags: argparse.Namespace,
    data: Data,
    done: list[tuple[str, list[float], dict[str, Column], list[str]]],
) -> None:
    """Write the tables of all models and seeds so far."""
    lines = images.head("Pruning to a measured latency")
    set_name = "Fashion-MNIST" if flags.data else "scikit-learn digits"
    lines += [
        (
            f"{set_name} at {flags.side} pixels (latency at {flags.latency_side}): "
            f"{len(data.train or ())} training and "
            f"{len(data.validation)} validation images; {flags.epochs} epochs before and "
            f"{flags.finetune} after pruning; criterion `{flags.importance}`; goal {GOAL}x on ONNX "
            "Runtime, 1 thread, batch 1. Mean ± standard deviation over seeds; 'raw' is before "
            "fine-tuning."
        ),
    ]
    for name, full, columns, notes in done:
        lines += [
            "",
            f"## {name}, unpruned {spread(full, 100)} % top-1, {len(full)} seeds",
            "",
            "| | " + " | ".join(columns) + " |",
            "|---|" + "---|" * len(columns),
        ]
        for label, attribute, scale in (
            ("Measured speed-up", "speedups", 1),
            ("Times fewer MACs", "macs", 1),
            ("Importance kept, %", "kept", 100),
            ("Top-1 raw, %", "raw", 100),
            ("Top-1 fine-tuned, %", "tuned", 100),
        ):
            cells = [spread(getattr(column, attribute), scale) for column in columns.values()]
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
        lines += ["", *(f"- seed {seed}: {note}" for seed, note in enumerate(notes))]
    flags.output.mkdir(parents=True, exist_ok=True)
    (flags.output / "pruning_latency.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
