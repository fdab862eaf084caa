"""Every architecture that squeeze says it can prune: pruned, trained, exported, run, reloaded.

With ``SQUEEZE_WRITE_SUPPORT=1`` a run writes ``benchmarks/results/pruning_support.md`` from what
happened; rows that were not run stay as they were. Without it the committed table
is compared with the rows here.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch.nn import functional

from squeeze.measure import cost
from squeeze.models import adapters, bundle
from squeeze.models.blocks import build
from squeeze.models.types import Model
from squeeze.pruning.step import prune
from squeeze.recipe.schema import InputSpec, ModelBlock, PruneStep
from squeeze.runtimes.base import Execution
from squeeze.runtimes.onnxruntime import export as onnx
from squeeze.runtimes.runtime import load as load_runtime

onnxruntime = load_runtime("onnxruntime")

TABLE = Path(__file__).parents[2] / "benchmarks" / "results" / "pruning_support.md"
WRITES = os.environ.get("SQUEEZE_WRITE_SUPPORT") == "1"
COMMAND = "SQUEEZE_WRITE_SUPPORT=1 pytest tests/pruning/test_prune_architectures.py"
CLASSES = 10
HEAD = """# What structured pruning supports

{done} of {all} architectures work. Each was built with random weights, lost 50 % of the channels
of every group (criterion `l2`, no alignment), ran forward, took a training step, was exported to
ONNX, ran in ONNX Runtime with the outputs of PyTorch at another batch size, and came back bit-equal
from its bundle. An adapter is a rewriting that squeeze does on its own before it prunes
(`squeeze/models/adapters`). Inputs are small to keep the test short.

{made}:

    {command}

| library | architecture | input | works | MACs cut | parameters cut | adapters | reason |
|---|---|---|---|---|---|---|---|
{rows}
"""


@dataclass(frozen=True)
class Row:
    """One architecture.

    Attributes:
        name: Its factory.
        size: Height and width of its input.
        args: The factory's arguments, besides the number of classes.
        quick: Whether it runs in the quick part of the suite.
        reason: Why it cannot be done; empty where it can.
    """

    name: str
    size: int = 64
    args: dict[str, Any] = field(default_factory=dict)
    quick: bool = False
    reason: str = ""


# in training their auxiliary heads are a second output, which nothing here is fed with
NO_AUX = {"aux_logits": False, "init_weights": False}

ROWS = (
    Row("torchvision:resnet18", quick=True),
    Row("torchvision:resnet50"),
    Row("torchvision:resnext50_32x4d"),
    Row("torchvision:wide_resnet50_2"),
    Row("torchvision:mobilenet_v2"),
    Row("torchvision:mobilenet_v3_small"),
    Row("torchvision:mobilenet_v3_large"),
    Row("torchvision:efficientnet_b0"),
    Row("torchvision:efficientnet_v2_s"),
    Row("torchvision:shufflenet_v2_x1_0"),
    Row("torchvision:squeezenet1_1"),
    Row("torchvision:inception_v3", 96, NO_AUX),
    Row("torchvision:googlenet", 64, NO_AUX),
    Row("torchvision:densenet121"),
    Row("torchvision:regnet_y_400mf"),
    Row("torchvision:vgg16_bn", 32),
    Row("torchvision:alexnet"),
    Row("torchvision:mnasnet1_0"),
    Row("torchvision:convnext_tiny"),
    Row("torchvision:vit_b_16", 32, {"image_size": 32}),
    Row("torchvision:swin_t"),
    Row("torchvision:maxvit_t", 224),
    Row("timm:res2net50_26w_4s"),
    Row("timm:resnest14d"),
    Row("timm:legacy_seresnet18"),
    Row("timm:seresnet50"),
    Row("timm:hrnet_w18_small"),
    Row("timm:efficientnet_lite0"),
    Row("timm:ghostnet_100"),
    Row("timm:mobilenetv4_conv_small"),
    Row("timm:repvgg_a0"),
    Row("timm:deit_tiny_patch16_224", 32, {"img_size": 32}),
    Row("timm:fastvit_t8"),
    Row("builtin:resnet20", 32, quick=True),
    Row("builtin:resnet20", 32, {"shortcut": "padded"}, quick=True),
)


def title(row: Row) -> str:
    """Name a row as the table does."""
    name = row.name.partition(":")[2]
    return f"{name}, padded shortcuts" if "shortcut" in row.args else name


@dataclass(frozen=True)
class Outcome:
    """What happened to a row."""

    macs: tuple[int, int]
    params: tuple[int, int]
    adapters: tuple[str, ...]


OUTCOMES: dict[str, Outcome] = {}


@pytest.fixture(scope="module", autouse=True)
def table(made: Callable[..., str]) -> Iterator[None]:
    """Write the table; rows that were not run stay as they were."""
    yield
    if WRITES:
        before = TABLE.read_text(encoding="utf-8") if TABLE.exists() else ""
        TABLE.write_text(rendered(before, made), encoding="utf-8")


def rendered(before: str, made: Callable[..., str]) -> str:
    """Return the table; ``before`` has the rows that were not run."""
    libraries = ("torch", "torchvision", "timm", "torch-pruning", "onnx", "onnxruntime")
    complete = not {title(row) for row in ROWS if not row.reason} - set(OUTCOMES)
    return HEAD.format(
        done=sum(not row.reason for row in ROWS),
        all=len(ROWS),
        made=made(libraries, before, complete=complete),
        command=COMMAND,
        rows="\n".join(line(row, before) for row in ROWS),
    )


def line(row: Row, before: str) -> str:
    """Return a row of the table."""
    library = row.name.partition(":")[0].replace("builtin", "squeeze")
    start = f"| {library} | {title(row)} | {row.size} px "
    if row.reason:
        return f"{start}| no | | | | {row.reason} |"
    if title(row) not in OUTCOMES:
        return next(old for old in before.splitlines() if old.startswith(start))
    found = OUTCOMES[title(row)]
    macs = found.macs[0] / found.macs[1]
    params = found.params[0] / found.params[1]
    used = ", ".join(f"`{name}`" for name in found.adapters)
    return f"{start}| yes | {macs:.2f} x | {params:.2f} x | {used} | |"


def case(row: Row) -> Any:
    marks = [] if row.quick else [pytest.mark.slow]
    if row.reason:
        marks.append(pytest.mark.xfail(strict=True, reason=row.reason))
    return pytest.param(row, id=title(row), marks=marks)


@pytest.mark.parametrize("row", [case(row) for row in ROWS])
def test_half_of_the_channels_go_and_all_else_still_works(row: Row, tmp_path: Path) -> None:
    torch.manual_seed(0)
    block = ModelBlock(
        build=row.name,
        args={"num_classes": CLASSES} | row.args,
        input=InputSpec(shape=(3, row.size, row.size)),
    )
    model = build(block, tmp_path)
    enliven_(model.module)
    images = torch.randn(2, 3, row.size, row.size)

    pruned = prune(model, PruneStep(pruning_ratio=0.5, align=1), seed=0)
    outcome = Outcome(
        (cost.macs(model), cost.macs(pruned)),
        (cost.params(model), cost.params(pruned)),
        adapters.adapt_(model.module),
    )
    assert outcome.macs[0] > 1.9 * outcome.macs[1]

    with torch.inference_mode():
        expected = pruned.module(images)
    assert expected.shape == (2, CLASSES)
    assert expected.std() > 0
    runs_in_onnxruntime(pruned, tmp_path / "pruned.onnx")
    folder = bundle.save(pruned, tmp_path / "bundle")
    with torch.inference_mode():
        assert torch.equal(bundle.load(folder).module(images), expected)
    trains(pruned, images)
    OUTCOMES[title(row)] = outcome


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("timm:deit_tiny_patch16_224", {"img_size": 32, "depth": 2}),
        ("timm:resnest14d", {"layers": [1, 1, 1, 1]}),
        ("builtin:resnet8", {"shortcut": "padded"}),
        ("torchvision:shufflenet_v2_x0_5", {}),
    ],
)
def test_a_model_is_pruned_twice(name: str, args: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = InputSpec(shape=(3, 32, 32))
    model = build(ModelBlock(build=name, args=args, input=spec), tmp_path)
    enliven_(model.module)
    once = prune(model, PruneStep(pruning_ratio=0.4, align=1), seed=0)
    twice = prune(once, PruneStep(pruning_ratio=0.4, align=1), seed=0)
    assert cost.macs(model) > 1.5 * cost.macs(once) > 2 * cost.macs(twice)
    folder = bundle.save(twice, tmp_path / "bundle")
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(bundle.load(folder).module(images), twice.module(images))


@pytest.mark.parametrize("ranking", ["local", "global"])
@pytest.mark.parametrize("name", ["torchvision:shufflenet_v2_x0_5", "timm:res2net50_26w_4s"])
def test_no_part_of_a_split_is_left_without_channels(
    name: str, ranking: Literal["local", "global"], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    args = {"layers": [1, 2, 1, 1]} if name.startswith("timm") else {}
    model = build(ModelBlock(build=name, args=args, input=InputSpec(shape=(3, 32, 32))), tmp_path)
    pruned = prune(model, PruneStep(pruning_ratio=0.85, ranking=ranking, align=1), seed=0)
    layers = [part for part in pruned.module.modules() if isinstance(part, torch.nn.Conv2d)]
    assert min(min(layer.in_channels, layer.out_channels) for layer in layers) > 0
    assert cost.macs(pruned) < cost.macs(model) / 5


def test_whole_heads_concern_no_other_parts(tmp_path: Path) -> None:
    """The parts of a Res2Net block stay, all of them narrower."""
    block = ModelBlock(
        build="timm:res2net50_26w_4s",
        args={"layers": [1, 1, 1, 1]},
        input=InputSpec(shape=(3, 32, 32)),
    )
    step = PruneStep(pruning_ratio=0.5, align=1, attention="heads")
    pruned = prune(build(block, tmp_path), step, seed=0)
    layers = [part for name, part in pruned.module.named_modules() if ".convs." in name]
    assert [layer.in_channels for layer in layers] == [13] * 3 + [26] * 3 + [52] * 3 + [104] * 3


def enliven_(module: torch.nn.Module) -> None:
    """Let heads and scales that start as zeros or near it show in the output."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 0 or parameter.abs().max() < 1e-4:
                parameter.uniform_(-0.2, 0.2)


def runs_in_onnxruntime(model: Model, path: Path) -> None:
    """Run a batch of another size than the one that was exported."""
    images = torch.randn(3, *model.input.shape)
    onnx.export(model, path)
    session = onnxruntime.open_session(path, Execution())
    found = session.invoke(session.prepare(images.numpy()))
    with torch.inference_mode():
        expected = model.module(images).numpy()
    scale = float(np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * scale)


def trains(model: Model, images: torch.Tensor) -> None:
    """Take one step of gradient descent."""
    module = model.module.train()
    loss = functional.cross_entropy(module(images), torch.tensor([1, 2]))
    loss.backward()
    gradients = [p.grad for p in module.parameters() if p.requires_grad]
    assert all(grad is not None and bool(grad.isfinite().all()) for grad in gradients)


@pytest.mark.skipif(WRITES, reason="the table is being written")
def test_the_committed_table_has_these_rows() -> None:
    text = TABLE.read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (?:torchvision|timm|squeeze) \| ([^|]+?) \|[^|]+\| (yes|no) ", text, re.MULTILINE
    )
    assert rows == [(title(row), "no" if row.reason else "yes") for row in ROWS]
