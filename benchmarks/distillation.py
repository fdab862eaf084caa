"""A small student alone against every distillation loss, with equal budgets.

A ResNet-20 teacher is trained once on many images, ResNet-8 students on few of them: alone (cross-
entropy on labels), and with each loss beside the labels at its default weight and options. All
students of a seed start from the same weights and see the same images in the same order.

    OMP_NUM_THREADS=1 python benchmarks/distillation.py --data /usr/share/datasets/fashion-mnist

Without ``--data`` it runs on scikit-learn's digits. The table is written after every seed.
"""

import argparse
import platform
import shlex
import statistics
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from pages import made

from squeeze.core import cpu, plugins
from squeeze.core.types import Silent
from squeeze.data.sets import Opening, open_data
from squeeze.data.splits import Split
from squeeze.distillation.step import distill
from squeeze.models.blocks import build
from squeeze.models.types import Model
from squeeze.recipe import losses as blocks
from squeeze.recipe.schema import (
    DataBlock,
    DataSource,
    DistillStep,
    InputSpec,
    LossBlock,
    ModelBlock,
    TrainSettings,
)
from squeeze.tasks.classification import task as classification
from squeeze.training.inputs import Training
from squeeze.training.loop import train_

ALONE = "student alone"
_DRAW = 1000


@dataclass
class Row:
    """What one method gave.

    Attributes:
        top1: Of every seed, in [0, 1].
        seconds: The longest training of a seed.
    """

    top1: list[float] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Setting:
    """The sizes of the comparison."""

    spec: InputSpec
    teacher_samples: int
    teacher_epochs: int
    samples: int
    epochs: int
    lr: float = 0.05
    batch_size: int = 32
    warmup_epochs: float = 2.0


DIGITS = Setting(
    InputSpec(shape=(1, 12, 12), mean=(0.3,), std=(0.35,), crop_fraction=1.0), 1257, 12, 100, 40
)
FASHION = Setting(
    InputSpec(shape=(1, 14, 14), mean=(0.286,), std=(0.32,), crop_fraction=1.0), 10000, 8, 500, 16
)


def opened(source: str | None, setting: Setting) -> tuple[Split, Split]:
    """Return all training and validation images."""
    named = {"format": "idx", "path": source} if source else {"format": "digits"}
    few = {"samples": setting.teacher_samples} if source else {}
    block = DataBlock(
        train=DataSource.model_validate(named | few),
        validation=DataSource.model_validate(named),
        on_overlap="drop_from_train",
    )
    data = open_data(
        block, Opening(Path(), setting.spec, 0, Silent()), trains=True, calibrates=False
    )
    if data.train is None:
        raise SystemExit("no training images")
    return data.train, data.validation


def model(name: str, setting: Setting, seed: int) -> Model:
    """Return a fresh ResNet for grey images of ten classes."""
    torch.manual_seed(seed)
    args = {"num_classes": 10, "in_channels": 1}
    return build(ModelBlock(build=f"builtin:{name}", args=args, input=setting.spec), Path())


def taught(train: Split, validation: Split, setting: Setting) -> tuple[Model, float]:
    """Return the teacher and its top-1."""
    teacher = model("resnet20", setting, _DRAW)
    train_(
        teacher.module,
        TrainSettings(epochs=setting.teacher_epochs, lr=0.1, batch_size=128),
        training(train, validation, _DRAW),
    )
    return teacher, classification.evaluate(teacher.module, validation, "cpu")


def training(train: Split, validation: Split, seed: int) -> Training:
    """Return a training that looks at few validation images between epochs."""
    look = validation.take(range(64))
    return Training(train, look, classification, seed, Silent(), "benchmark")


def drawn(train: Split, setting: Setting, seed: int) -> Split:
    """Draw the student's images."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    return train.take(order[: setting.samples].tolist())


def student(
    loss: LossBlock | None, data: tuple[Split, Split], setting: Setting, teacher: Model, seed: int
) -> tuple[float, float]:
    """Train one student; return top-1 on all validation images and seconds of training."""
    plain = TrainSettings(
        epochs=setting.epochs,
        lr=setting.lr,
        batch_size=setting.batch_size,
        warmup_epochs=setting.warmup_epochs,
    )
    fresh = model("resnet8", setting, seed)
    given = training(drawn(data[0], setting, seed), data[1], seed)
    started = time.perf_counter()
    if loss is None:
        train_(fresh.module, plain, given)
    else:
        step = DistillStep(**plain.model_dump(), teacher="baseline", losses=(loss,))
        fresh = distill(fresh, teacher, step, given)[0]
    seconds = time.perf_counter() - started
    return classification.evaluate(fresh.module, data[1], "cpu"), seconds


def spread(values: list[float]) -> float:
    """Return the standard deviation, 0 of a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def gains(row: Row, alone: Row) -> list[float]:
    """Return the differences to the student alone, seed by seed."""
    return [a - b for a, b in zip(row.top1, alone.top1, strict=False)]


def wins(row: Row, alone: Row) -> bool:
    """Whether the mean gain is larger than both spreads of top-1 over the seeds."""
    return statistics.mean(gains(row, alone)) > max(spread(row.top1), spread(alone.top1))


def described(name: str) -> str:
    """Return a loss's default weight and options."""
    module = blocks.load(LossBlock(name=name))
    options = [
        f"{k} {v}" for k, v in blocks.read_options(LossBlock(name=name)).model_dump().items()
    ]
    return ", ".join([f"weight {module.TRAITS.weight:g}", *options])


def table(rows: dict[str, Row], about: list[str]) -> str:
    """Return the Markdown page."""
    alone = rows[ALONE]
    lines = [
        "# Distillation losses",
        "",
        *about,
        "",
        "| Loss | Top-1, % | Gain over alone, points | Beyond the spread | s | Default setting |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        if not row.top1:
            continue
        gain = gains(row, alone)
        shown = (
            ["-", "-"]
            if name == ALONE
            else [
                f"{100 * statistics.mean(gain):+.2f} ± {100 * spread(gain):.2f}",
                "yes" if wins(row, alone) else "no",
            ]
        )
        top1 = f"{100 * statistics.mean(row.top1):.2f} ± {100 * spread(row.top1):.2f}"
        setting = "cross-entropy" if name == ALONE else described(name)
        lines.append(f"| {' | '.join([name, top1, *shown, f'{row.seconds:.0f}', setting])} |")
    return "\n".join(lines) + "\n"


def story(seeds: int, setting: Setting, teacher: float, validation: int) -> list[str]:
    """Return the table's introduction: what was done, where, and by which command."""
    shape = "x".join(map(str, setting.spec.shape))
    command = shlex.join(["python", "benchmarks/distillation.py", *sys.argv[1:]])
    what = (
        f"Teacher: ResNet-20, {setting.teacher_samples} images of {shape}, "
        f"{setting.teacher_epochs} epochs, top-1 {100 * teacher:.2f} %. Students: ResNet-8, "
        f"{setting.samples} of these images (drawn by the seed), {setting.epochs} epochs, SGD, "
        f"lr {setting.lr}, batch {setting.batch_size}, {setting.warmup_epochs:g} epochs of "
        f"warm-up, cosine. Top-1 on {validation} other images in torch. Mean ± standard deviation "
        f"over {seeds} seeds; the gain is taken seed by seed. Beyond the spread: the mean gain is "
        "larger than the standard deviation of top-1 of the student alone and of the loss. "
        "Seconds (the longest of the seeds) are of one thread on a shared machine. The default "
        "weights were adjusted by a short sweep on seed 100 with the same validation images."
    )
    where = (
        f"{made(('torch', 'torchdistill'))}; {cpu.host().model or platform.machine()}, "
        f"{platform.system()}."
    )
    return [what, "", f"    OMP_NUM_THREADS=1 {command}", "", where]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", help="folder of idx files; digits without it")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--losses", nargs="*", help="all without it")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent / "results" / "distillation.md"
    )
    return parser.parse_args()


def of_classifiers() -> list[str]:
    """Return the losses that a classifier can learn from."""
    every = {
        name: blocks.load(LossBlock(name=name)).TRAITS for name in plugins.names(plugins.LOSSES)
    }
    return sorted(name for name, traits in every.items() if traits.task != "detection")


def main() -> None:
    """Run the comparison and write the table."""
    given = arguments()
    torch.set_num_threads(1)
    setting = FASHION if given.data else DIGITS
    data = opened(given.data, setting)
    setting = replace(setting, teacher_samples=len(data[0]))
    teacher, top1 = taught(*data, setting)
    print(f"teacher: {top1:.2%}", flush=True)
    rows = {n: Row() for n in (ALONE, *(given.losses or of_classifiers()))}
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for name, row in rows.items():
            loss = None if name == ALONE else LossBlock(name=name)
            found, seconds = student(loss, data, setting, teacher, seed)
            row.top1.append(found)
            row.seconds = max(row.seconds, seconds)
            print(f"seed {seed}  {name:14} {found:.2%}  {seconds:.1f} s", flush=True)
        about = story(seed - given.first_seed + 1, setting, top1, len(data[1]))
        given.output.parent.mkdir(exist_ok=True)
        given.output.write_text(table(rows, about), encoding="utf-8")


if __name__ == "__main__":
    main()
