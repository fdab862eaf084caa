"""Models with attributes that Python cannot copy."""

import io
import math
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from squeeze.core.errors import SqueezeError
from squeeze.models.copying import copied


class Helper:
    """Holds a lock and something that is to be copied."""

    def __init__(self) -> None:
        self.lock, self.sizes = threading.Lock(), [1, 2]


class Net(nn.Module):
    """Holds a module, locks, a file, a generator and a tensor with a graph behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.math, self.lock, self.file = math, threading.RLock(), io.StringIO("x")
        self.stream = (number for number in range(3))
        self.helper = Helper()
        self.seen: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        with self.lock:
            self.seen = self.layer(images)
        return self.seen * self.math.pi


def test_a_copy_shares_only_what_cannot_be_copied() -> None:
    net = Net()
    expected = net(torch.ones(2, 4))
    copy = copied(net)
    assert copy.math is math
    assert copy.lock is net.lock
    assert copy.stream is net.stream
    assert copy.helper is not net.helper
    assert copy.helper.lock is net.helper.lock
    assert copy.helper.sizes is not net.helper.sizes
    assert torch.equal(copy(torch.ones(2, 4)), expected)
    assert copy.layer.weight is not net.layer.weight
    with torch.no_grad():
        copy.layer.weight.zero_()
    assert torch.equal(net(torch.ones(2, 4)), expected)


def test_tied_weights_stay_tied() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    net.lock = threading.Lock()  # type: ignore[assignment]
    copy = copied(net)
    assert copy[0].weight is copy[1].weight
    assert copy[0].weight is not net[0].weight


class Stubborn(nn.Linear):
    """Refuses to be copied."""

    def __deepcopy__(self, memo: object) -> nn.Module:
        raise TypeError("not this one")


def test_a_layer_that_refuses_is_named() -> None:
    net = nn.Sequential(nn.ReLU(), nn.Sequential(Stubborn(1, 1)))
    with pytest.raises(SqueezeError, match=r"^Sequential\.1\.0: cannot be copied: TypeError: not"):
        copied(net)


def test_such_a_model_is_pruned_saved_and_exported(tmp_path: Path) -> None:
    from squeeze.models import bundle
    from squeeze.models.factory import make
    from squeeze.models.types import Architecture, Model
    from squeeze.pruning.step import prune
    from squeeze.recipe.schema import InputSpec, PruneStep
    from squeeze.runtimes.onnxruntime import export as onnx

    (tmp_path / "net.py").write_text(
        "import math, threading\nfrom torch import nn\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.math, self.lock = math, threading.Lock()\n"
        "        self.a, self.b = nn.Conv2d(1, 16, 3), nn.Conv2d(16, 4, 3)\n"
        "    def forward(self, x):\n"
        "        return self.b(self.a(x).relu() * self.math.pi).mean((2, 3))\n\n"
        "def make():\n    return Net()\n"
    )
    spec = InputSpec(shape=(1, 12, 12), mean=(0.3,), std=(0.35,))
    module = make("./net.py:make", {}, tmp_path)
    model = Model(module, Architecture("./net.py:make", tmp_path, {}, spec))
    pruned = prune(model, PruneStep(pruning_ratio=0.5), seed=0)
    assert pruned.module.a.out_channels == 8  # type: ignore[union-attr]
    bundle.save(pruned, tmp_path / "bundle")
    onnx.export(pruned, tmp_path / "net.onnx", log=tmp_path / "log.txt")
    images = torch.ones(1, 1, 12, 12)
    named = f"{tmp_path}/net.py:make"
    again = bundle.load_bundle(tmp_path / "bundle", allow_code=named)
    assert torch.equal(again(images), pruned.module(images))
