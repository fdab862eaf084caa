"""Families of networks in int8, in both runtimes: what runs in int8 and how close it comes.

With ``SQUEEZE_WRITE_SUPPORT=1`` a run writes ``benchmarks/results/quantization_support.md``: rows
that were not run stay as they were. Without it the committed table is compared with the rows here.
Networks are torchvision's own classes, shallow and narrow, with random weights and the batch
statistics of real digits: what is tested is each operator, not a task.
"""

import collections
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models import densenet, efficientnet, mobilenetv3, resnet, shufflenetv2

from squeeze.core.types import Silent
from squeeze.data.sets import Data, Opening, open_data
from squeeze.models.types import Architecture, Model
from squeeze.quantization.backends.litert import quantize as litert_backend
from squeeze.quantization.backends.onnxruntime import quantize as onnx_backend
from squeeze.quantization.recovery.recover import recover
from squeeze.quantization.request import Request
from squeeze.recipe.schema import DataBlock, InputSpec, QuantizeStep
from squeeze.runtimes.base import Audit, Execution
from squeeze.runtimes.litert import export as litert_export
from squeeze.runtimes.onnxruntime import export as onnx_export
from squeeze.runtimes.runtime import load as load_runtime

litert, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")

pytestmark = pytest.mark.usefixtures("portable_cpu")

TABLE = Path(__file__).parents[2] / "benchmarks" / "results" / "quantization_support.md"
WRITES = os.environ.get("SQUEEZE_WRITE_SUPPORT") == "1"
COMMAND = "SQUEEZE_WRITE_SUPPORT=1 pytest tests/quantization/test_quantize_families.py"
SPEC = InputSpec(shape=(3, 32, 32), mean=(0.3,) * 3, std=(0.35,) * 3, crop_fraction=1.0)
IMAGES = 128
WAYS: dict[str, Any] = {
    "onnxruntime": (onnx_export, onnx_backend, onnxruntime, "onnx"),
    "litert": (litert_export, litert_backend, litert, "tflite"),
}
HEAD = """# What runs in int8

`static_int8` with its defaults, 7-bit weights, on shallow and narrow networks of each family
with random weights. Counted are the convolutions and matrix products of the graph that the runtime
executes. SQNR compares the int8 file's outputs with those of the torch model on {images} digits of
32 px, after the mean output was taken off: random networks answer all images alike, and the mean
would flatter. Agreement is that of the highest output; between near ties of a random network it
says less. Islands are other operators between integer ones that run in float. In ONNX Runtime
DenseNet's batch norms, which follow no convolution, are convolutions of one weight per channel.

{made}:

    {command}

| family | runtime | convolutions | all products | float | islands | SQNR | agreement |
|---|---|---|---|---|---|---|---|
{rows}
"""


def mobilenet_v3() -> nn.Module:
    """Squeeze-excite with hard sigmoids, hard-swish."""
    block = partial(mobilenetv3.InvertedResidualConfig, dilation=1, width_mult=1.0)
    settings = [
        block(16, 3, 32, 16, use_se=True, activation="RE", stride=1),
        block(16, 5, 32, 24, use_se=True, activation="HS", stride=2),
    ]
    found: nn.Module = mobilenetv3.MobileNetV3(settings, last_channel=64, num_classes=10)
    return found


def efficient_net() -> nn.Module:
    """Squeeze-excite with sigmoids, SiLU."""
    block = partial(efficientnet.MBConvConfig, width_mult=1.0, depth_mult=1.0)
    settings = [block(1, 3, 1, 16, 16, 1), block(4, 3, 2, 16, 24, 1)]
    found: nn.Module = efficientnet.EfficientNet(
        settings, dropout=0.0, last_channel=64, num_classes=10
    )
    return found


def vision_transformer() -> nn.Module:
    """Attention, layer norms, GELU."""
    found: nn.Module = models.VisionTransformer(
        image_size=32,
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=32,
        mlp_dim=64,
        num_classes=10,
    )
    return found


@dataclass(frozen=True)
class Family:
    """One row for each runtime.

    Attributes:
        make: The network.
        products: Convolutions and matrix products, in ONNX Runtime and in LiteRT; all run in int8.
        sqnr_db: At least so much, in either runtime: 4 dB below what was measured in the worse one.
    """

    make: Callable[[], nn.Module]
    products: tuple[int, int]
    sqnr_db: float


FAMILIES = {
    "ResNet": Family(
        lambda: resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], num_classes=10), (13, 13), 13
    ),
    "EfficientNet-Lite": Family(
        lambda: models.MobileNetV2(10, inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2]]),
        (11, 11),
        13,
    ),
    "MobileNetV3": Family(mobilenet_v3, (14, 14), 9),
    "EfficientNet": Family(efficient_net, (12, 12), 11),
    "ShuffleNetV2": Family(
        lambda: shufflenetv2.ShuffleNetV2([2, 2, 1], [16, 32, 48, 64, 64], 10), (24, 24), 6
    ),
    "DenseNet": Family(lambda: densenet.DenseNet(8, (2, 2), 16, num_classes=10), (17, 11), 11),
    "ViT": Family(vision_transformer, (14, 14), 6),
}


@dataclass(frozen=True)
class Outcome:
    """What happened to a row."""

    audit: Audit
    sqnr_db: float
    agreement: float


OUTCOMES: dict[tuple[str, str], Outcome] = {}


@pytest.fixture(scope="module")
def pictures() -> Data:
    """Digits of 32 px in three equal colours."""
    block = DataBlock.model_validate(
        {
            "train": "builtin:digits",
            "validation": "builtin:digits",
            "calibration": {"from": "train", "samples": 32},
        }
    )
    return open_data(block, Opening(Path(), SPEC, 0, Silent()), trains=True, calibrates=True)


@pytest.fixture(autouse=True)
def table(made: Callable[..., str]) -> Iterator[None]:
    """Write the table as far as it is known."""
    yield
    if WRITES:
        before = TABLE.read_text(encoding="utf-8") if TABLE.exists() else ""
        TABLE.write_text(rendered(before, made), encoding="utf-8")


def rendered(before: str, made: Callable[..., str]) -> str:
    """Return the table; ``before`` has the rows that were not run."""
    libraries = ("torch", "torchvision", "onnxruntime", "litert-torch", "ai-edge-quantizer")
    stamp = made(libraries, before, complete=len(OUTCOMES) == len(FAMILIES) * len(WAYS))
    rows = "\n".join(line(name, runtime, before) for name in FAMILIES for runtime in WAYS)
    return HEAD.format(images=IMAGES, made=stamp, command=COMMAND, rows=rows)


def line(name: str, runtime: str, before: str) -> str:
    """Return a row of the table."""
    start = f"| {name} | {runtime} |"
    if (name, runtime) not in OUTCOMES:
        old = (each for each in before.splitlines() if each.startswith(start))
        return next(old, f"{start} not run | | | | | |")
    found = OUTCOMES[name, runtime]
    coverage = found.audit.coverage
    convolutions = "{} of {}".format(*coverage.convolutions)
    reasons = "; ".join(dict.fromkeys(f"{node.op}: {node.reason}" for node in coverage.survivors))
    islands = collections.Counter(node.op for node in found.audit.islands)
    conversions = ", ".join(f"{count} {op}" for op, count in sorted(islands.items()))
    slow = f" ({len(coverage.slow)} in slow integer kernels)" if coverage.slow else ""
    return (
        f"{start} {convolutions} | {coverage.int8} of {coverage.total}{slow} | "
        f"{reasons or 'none'} | {conversions or 'none'} | {found.sqnr_db:.1f} dB | "
        f"{found.agreement:.0%} |"
    )


@torch.no_grad()
def network(name: str, pictures: Data) -> Model:
    """Build a family's network; its batch norms have seen digits."""
    torch.manual_seed(0)
    module = FAMILIES[name].make()
    assert pictures.train is not None
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    for parameter in module.parameters():  # a head of zeros says nothing
        if parameter.abs().max() == 0 and parameter.ndim > 1:
            parameter.normal_(std=0.2)
    module.train()(torch.from_numpy(pictures.train.batch(range(64))[0]))
    return Model(module.eval(), Architecture(name, Path(), {}, SPEC))


@pytest.mark.parametrize("runtime", WAYS)
@pytest.mark.parametrize("name", FAMILIES)
def test_all_products_run_in_int8_and_stay_close(
    name: str, runtime: str, pictures: Data, tmp_path: Path
) -> None:
    model, family = network(name, pictures), FAMILIES[name]
    export, backend, kernels, kind = WAYS[runtime]
    images, _ = pictures.validation.batch(range(IMAGES))
    with torch.inference_mode():
        expected = model.module(torch.from_numpy(images)).numpy()
    step = QuantizeStep(weight_bits=7)
    assert pictures.calibration is not None
    better = recover(model, step.recovery, pictures.calibration, Silent(), bits=7)
    assert "rounded adaptively" in better.notes[-1]
    source, place = tmp_path / f"float.{kind}", tmp_path / f"int8.{kind}"
    export.export(better.model, source, log=tmp_path / "log")
    backend.quantize(Request(source, place, step, pictures.calibration, Silent(), None))

    audit = kernels.audit(place)
    session = kernels.open_session(place, Execution())
    found = session.invoke(session.prepare(images))
    session.close()
    signal = expected - expected.mean(0)
    noise = signal - (found - found.mean(0))
    sqnr_db = 10 * np.log10(np.square(signal).sum() / np.square(noise).sum())
    agreement = float((found.argmax(1) == expected.argmax(1)).mean())
    OUTCOMES[name, runtime] = Outcome(audit, sqnr_db, agreement)
    products = family.products[list(WAYS).index(runtime)]
    slow = [node.op for node in audit.coverage.slow]
    assert (audit.coverage.int8 + len(slow), audit.coverage.total) == (products, products)
    assert set(slow) <= {"BATCH_MATMUL"}  # of two activations, which XNNPACK does not take
    assert sqnr_db > family.sqnr_db


@pytest.mark.skipif(WRITES, reason="the table is being written")
def test_the_committed_table_has_these_rows() -> None:
    text = TABLE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+?) \| (onnxruntime|litert) \|", text, re.MULTILINE)
    assert rows == [(name, runtime) for name in FAMILIES for runtime in WAYS]
