"""Images per second of the training loop beside those of a bare hand-written PyTorch loop.

Both train the same ResNet with the same batches, optimizer and schedule, in turns in one process,
an epoch each. The bare loop has its images as float tensors on the device already and books
nothing; squeeze normalises its pixels batch by batch, checks every loss and keeps its books.
Validation is not in either figure. Where there is a GPU, that is what is measured.

    python benchmarks/training_throughput.py --rounds 15
"""

import argparse
import os
import platform
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pages import made
from torch import nn
from torch.nn import functional

from squeeze.core.types import Silent
from squeeze.data.samples import ArraySamples
from squeeze.data.sets import Opening, open_data
from squeeze.data.splits import Split
from squeeze.models.cifar_resnet import resnet20, resnet56
from squeeze.recipe.schema import Augment, DataBlock, InputSpec, TrainSettings
from squeeze.store import write_text
from squeeze.tasks.classification import task as classification
from squeeze.training.inputs import Training
from squeeze.training.loop import train_

RESULT = Path(__file__).parent / "results" / "training_throughput.md"
MEAN, STD, SHIFT = 0.3, 0.35, 2


@dataclass(frozen=True)
class Case:
    """One row: a model, its input, how many images, and what is done to them."""

    model: str
    shape: tuple[int, int, int]
    images: int
    batch_size: int
    augmented: bool = False
    precision: str = "fp32"
    channels_last: bool = False
    workers: int = 0

    @property
    def settings(self) -> TrainSettings:
        """The recipe's numbers of one epoch."""
        return TrainSettings.model_validate(
            {
                "epochs": 1,
                "lr": 0.01,
                "batch_size": self.batch_size,
                "augment": Augment(flip=True, shift=SHIFT) if self.augmented else Augment(),
                "precision": self.precision,
                "channels_last": self.channels_last,
                "workers": self.workers,
            }
        )

    def build(self) -> nn.Module:
        """Return the model with weights of a seed."""
        torch.manual_seed(0)
        factory = {"resnet20": resnet20, "resnet56": resnet56}[self.model]
        return factory(num_classes=10, in_channels=self.shape[0])

    def data(self) -> tuple[Split, Split]:
        """Return training and validation digits at the input's size, repeated to their number."""
        spec = InputSpec(shape=self.shape, mean=(MEAN,), std=(STD,), crop_fraction=1.0)
        block = DataBlock.model_validate(
            {"train": "builtin:digits", "validation": "builtin:digits"}
        )
        data = open_data(block, Opening(Path(), spec, 0, Silent()), trains=True, calibrates=False)
        assert data.train is not None  # noqa: S101
        chosen = np.arange(self.images) % len(data.train)
        pixels = np.stack([data.train.image(p) for p in range(len(data.train))])
        pixels = pixels.transpose(0, 2, 3, 1)[chosen].squeeze()
        samples = ArraySamples(pixels, data.train.labels[chosen], data.classes, "digits")
        positions = list(range(self.images))
        train = replace(data.train, samples=samples, indices=positions, digests=[b""] * self.images)
        return train, data.validation.take(range(32))


def bare(case: Case, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Train an epoch as anybody would write it; return images per second."""
    device = images.device
    model = case.build().to(device).train()
    layout = torch.channels_last if case.channels_last else torch.preserve_format
    if case.channels_last:
        model = model.to(memory_format=layout)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    spared = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": 5e-4}, {"params": spared, "weight_decay": 0.0}],
        lr=0.01,
        momentum=0.9,
        nesterov=True,
    )
    count = len(images) // case.batch_size
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, count)
    enabled = case.precision == "bf16"
    torch.backends.cudnn.benchmark = device.type == "cuda"
    started = time.perf_counter()
    order = torch.randperm(len(images), device=device)
    total = torch.zeros((), device=device)
    for step in range(count):
        chosen = order[step * case.batch_size : (step + 1) * case.batch_size]
        batch = images[chosen]
        if case.augmented:
            batch = augmented(batch)
        batch = batch.contiguous(memory_format=layout) if case.channels_last else batch
        with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
            loss = functional.cross_entropy(model(batch), labels[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.detach()
    total.item()
    return count * case.batch_size / (time.perf_counter() - started)


def augmented(images: torch.Tensor) -> torch.Tensor:
    """Mirror and shift a batch, image by image."""
    height, width = images.shape[2:]
    padded = functional.pad(images, (SHIFT,) * 4, mode="replicate")
    rows, columns = torch.randint(0, 2 * SHIFT + 1, (2, len(images))).tolist()
    moved = [
        image[:, y : y + height, x : x + width]
        for image, y, x in zip(padded, rows, columns, strict=True)
    ]
    mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5  # noqa: PLR2004
    stacked = torch.stack(moved)
    return torch.where(mirrored, stacked.flip(3), stacked)


def measure(case: Case, rounds: int, device: str) -> str:
    """Run both in turns; return a row of the table."""
    train, validation = case.data()
    training = Training(train, validation, classification, 0, Silent(), "benchmark")
    array, classes = train.batch(range(len(train)))
    images, labels = torch.from_numpy(array).to(device), torch.from_numpy(classes).to(device)
    ours, theirs = [], []
    for number in range(rounds + 1):
        one = train_(case.build(), case.settings, training)[0].images_per_s
        other = bare(case, images, labels)
        if number:  # the first round warms up
            ours.append(one)
            theirs.append(other)
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    low, middle, high = statistics.quantiles(ratios, n=4)
    shape = "x".join(map(str, case.shape))
    what = "flip, shift" if case.augmented else "none"
    how = case.precision + (", channels-last" if case.channels_last else "")
    how += f", {case.workers} workers" if case.workers else ""
    return (
        f"| {device} | {case.model} | {shape} | {case.batch_size} | {what} | {how} "
        f"| {statistics.median(ours):,.0f} | {statistics.median(theirs):,.0f} "
        f"| {middle:.3f} ({low:.3f} to {high:.3f}) |"
    )


def cases(device: str, images: int) -> list[Case]:
    """Return what is measured on a device."""
    if device == "cpu":
        small = [
            Case("resnet20", (1, 8, 8), images, 64, augmented=augment) for augment in (False, True)
        ]
        return [
            *small,
            *(
                Case("resnet20", (3, 32, 32), images // 2, 64, augmented=augment)
                for augment in (False, True)
            ),
        ]
    many, large = 40 * images, 512
    return [
        Case("resnet20", (3, 32, 32), many, large),
        Case("resnet20", (3, 32, 32), many, large, augmented=True, workers=8),
        Case("resnet56", (3, 32, 32), many, large),
        Case("resnet56", (3, 32, 32), many, large, precision="bf16", channels_last=True),
    ]


def processor() -> str:
    """Return the processor's name."""
    with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--images", type=int, default=640)
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        if device == "cpu" and torch.cuda.is_available():
            continue  # the loop takes the GPU where there is one
        for case in cases(device, given.images):
            lines.append(measure(case, given.rounds, device))
            print(lines[-1], flush=True)
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
    head = f"""# Images per second of the training loop beside a bare PyTorch loop

{made(("torch",))}; {name}, {os.cpu_count()} cores, one thread. {given.rounds} interleaved rounds \
of an epoch each:

    python benchmarks/training_throughput.py --rounds {given.rounds} --images {given.images}

| device | model | input | batch | augmentation | format | squeeze, images/s | bare, images/s | \
ratio, median (quartiles) |
|---|---|---|---|---|---|---|---|---|
"""
    foot = f"""
The bare loop holds its images as normalised float tensors on the device; squeeze normalises pixels
batch by batch, looks at every loss and counts. Validation is in neither figure. Load average of the
machine at the end: {os.getloadavg()[0]:.1f}; on a busy one the ratios mean something, the images/s
do not.
"""
    write_text(RESULT, head + "\n".join(lines) + "\n" + foot)
    print(RESULT)


if __name__ == "__main__":
    main()
