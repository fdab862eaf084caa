"""How much of whole networks runs in int8: torchvision's own at full depth and width.

    python benchmarks/quantization_whole.py [--runtime RUNTIME] [NAME ...]

Prints rows of a table. Weights are random and batch norms have seen digits: kernels are counted and
no accuracy is measured, since random networks of many layers amplify any rounding.
"""

import argparse
import collections
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from images import head
from torch import nn
from torchvision import models

from squeeze.core.types import Silent
from squeeze.data.sets import Opening, open_data
from squeeze.data.splits import Split
from squeeze.exporting import file
from squeeze.models.types import Architecture, Model
from squeeze.quantization.backend import load as load_backend
from squeeze.quantization.request import Request
from squeeze.recipe.schema import DataBlock, InputSpec, QuantizeStep
from squeeze.runtimes.runtime import load as load_runtime

NAMES = (
    "mobilenet_v3_large",
    "efficientnet_b0",
    "shufflenet_v2_x1_0",
    "densenet121",
    "vit_b_16",
)
RUNTIMES = ("onnxruntime", "litert")
ABOUT = """torchvision's networks at full depth and width, 64 px, `static_int8` without recovery.
Counted are the convolutions and matrix products in fast int8 kernels, of the graph that runs;
islands are other operators between integer ones that run in float. In ONNX Runtime
DenseNet's 62 batch norms that follow no convolution are convolutions of one weight per
channel. Weights are random: no accuracy is measured."""
COLUMNS = (
    "| network | runtime | convolutions | all products | float | integer but slow | islands |",
    "|---|---|---|---|---|---|---|",
)
SIDE, SEEN, CALIBRATING = 64, 16, 8


@dataclass(frozen=True)
class Digits:
    """Digits of 64 px in three equal colours, by what they serve."""

    train: Split
    calibration: Split


def digits() -> Digits:
    """Open the digits."""
    spec = InputSpec(shape=(3, SIDE, SIDE), mean=(0.3,) * 3, std=(0.35,) * 3, crop_fraction=1.0)
    block = DataBlock.model_validate(
        {
            "train": "builtin:digits",
            "validation": "builtin:digits",
            "calibration": {"from": "train", "samples": CALIBRATING},
        }
    )
    data = open_data(block, Opening(Path(), spec, 0, Silent()), trains=True, calibrates=True)
    if data.train is None or data.calibration is None:
        raise SystemExit("there are no digits")
    return Digits(data.train, data.calibration)


@torch.no_grad()
def network(name: str, data: Digits) -> Model:
    """Build a network; its batch norms have the statistics of digits."""
    torch.manual_seed(0)
    sizes = {"image_size": SIDE} if name.startswith("vit") else {}
    module = models.get_model(name, num_classes=10, **sizes)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    for parameter in module.parameters():  # a head of zeros says nothing
        if parameter.abs().max() == 0 and parameter.ndim > 1:
            parameter.normal_(std=0.2)
    module.train()(torch.from_numpy(data.train.batch(range(SEEN))[0]))
    return Model(module.eval(), Architecture(name, Path(), {}, data.train.spec))


def row(name: str, runtime: str, data: Digits) -> str:
    """Quantize one network for one runtime and return its row."""
    model, backend, kernels = network(name, data), load_backend(runtime), load_runtime(runtime)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / f"int8{kernels.spec.suffix}"
        source = file.write(name, model, kernels, 1, Path(folder), Path(folder) / "log")
        step = QuantizeStep(weight_bits=7)
        backend.quantize(Request(source, place, step, data.calibration, Silent(), None))
        audit = kernels.audit(place)
    coverage = audit.coverage
    reasons = dict.fromkeys(f"{node.op}: {node.reason}" for node in coverage.survivors)
    slow = collections.Counter(f"{node.op}: {node.reason}" for node in coverage.slow)
    slowly = "; ".join(f"{count} {why}" for why, count in slow.items())
    islands = collections.Counter(node.op for node in audit.islands)
    told = ", ".join(f"{count} {op}" for op, count in sorted(islands.items()))
    return (
        f"| {name} | {runtime} | {'{} of {}'.format(*coverage.convolutions)} | "
        f"{coverage.int8} of {coverage.total} | {'; '.join(reasons) or 'none'} | "
        f"{slowly or 'none'} | {told or 'none'} |"
    )


def main() -> None:
    """Print a row for every network and runtime that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*NAMES, []])
    parser.add_argument("--runtime", choices=list(RUNTIMES))
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = digits()
    print(*head("What runs in int8 of whole networks"), ABOUT, "", *COLUMNS, sep="\n", flush=True)
    for runtime in [args.runtime] if args.runtime else list(RUNTIMES):
        for name in args.names or NAMES:
            print(row(name, runtime, data), flush=True)


if __name__ == "__main__":
    main()
