"""What makes a pruned module different from a fresh one, and putting it back."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from squeeze.core.errors import InputError
from squeeze.models import structure


class Layer(nn.Module):
    """Attributes of every plain kind, some of them nested."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 1)
        self.sizes: Any = (1, (2, 3))
        self.splits: Any = [[1, 2], [3, 4]]
        self.name: Any = "a"
        self.flag: Any = False
        self.scale: Any = 0.5
        self.nothing: Any = None
        self.table: Any = {"a": 1}
        self.register_buffer("source", torch.arange(4))
        self.bias = nn.Parameter(torch.zeros(1, 4), requires_grad=False)
        self.fine = nn.Parameter(torch.zeros(4, dtype=torch.float16))


def changed() -> Layer:
    layer = Layer()
    layer.conv = nn.Conv2d(2, 3, 1)
    layer.sizes, layer.splits = (1, (2, 2)), [[1, 1], [3, 4]]
    layer.name, layer.flag, layer.scale, layer.nothing = "b", True, 0.25, 3
    layer.source = torch.arange(3)
    layer.bias = nn.Parameter(torch.ones(1, 3), requires_grad=False)
    layer.fine = nn.Parameter(torch.ones(3, dtype=torch.float16))
    return layer


def test_equal_modules_do_not_differ() -> None:
    assert structure.differences(Layer(), Layer()) == {}
    assert structure.differences(Layer().train(), Layer().eval()) == {}


def test_differences_are_plain_attributes_that_changed() -> None:
    assert structure.differences(changed(), Layer()) == {
        "": {
            "sizes": (1, (2, 2)),
            "splits": [[1, 1], [3, 4]],
            "name": "b",
            "flag": True,
            "scale": 0.25,
            "nothing": 3,
        },
        "conv": {"out_channels": 3},
    }


def test_what_cannot_be_written_is_no_difference() -> None:
    layer = Layer()
    layer.table = {"a": 2}
    layer.sizes = (1, object())
    assert structure.differences(layer, Layer()) == {}


def test_a_fresh_module_takes_the_shapes_types_and_attributes() -> None:
    old, new = changed(), Layer()
    structure.restore_(new, structure.differences(old, Layer()), old.state_dict(), where="x")
    new.load_state_dict(old.state_dict())
    assert structure.differences(new, old) == {}
    assert new.conv.weight.shape == (3, 2, 1, 1)
    assert isinstance(new.bias, nn.Parameter)
    assert not new.bias.requires_grad
    assert new.fine.dtype == torch.float16
    assert new.fine.requires_grad
    assert new.source.dtype == torch.int64  # type: ignore[union-attr]
    assert not isinstance(new.source, nn.Parameter)


def test_tuples_come_back_from_json_as_tuples_however_deep() -> None:
    """JSON knows lists only; what a fresh module has tells which are tuples."""
    new = Layer()
    written = {"": {"sizes": [1, [2, 2]], "splits": [[1, 1], [3, 4]]}}
    structure.restore_(new, written, {}, where="x")
    assert new.sizes == (1, (2, 2))
    assert new.splits == [[1, 1], [3, 4]]


def test_tensors_that_fit_are_left_alone() -> None:
    new = Layer()
    before = new.conv.weight
    structure.restore_(new, {}, Layer().state_dict(), where="x")
    assert new.conv.weight is before


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {"conv2": {"out_channels": 3}},
            "x: its record names 'conv2', which the model does not have\n"
            "  the factory has changed since the bundle was saved",
        ),
        (
            {"conv": {"weight": 3}},
            "x: its record cannot set 'weight' of a Conv2d\n"
            "  the factory has changed since the bundle was saved",
        ),
        (
            {"": {"forward": 3}},
            "x: its record cannot set 'forward' of a Layer\n"
            "  the factory has changed since the bundle was saved",
        ),
        (
            {"": {"_modules": 3}},
            "x: its record cannot set '_modules' of a Layer\n"
            "  the factory has changed since the bundle was saved",
        ),
        (
            {"": {"name": {"a": 1}}},
            "x: its record cannot set 'name' of a Layer\n"
            "  the factory has changed since the bundle was saved",
        ),
    ],
)
def test_a_record_that_does_not_fit_is_an_error(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        structure.restore_(Layer(), attributes, {}, where="x")
    assert str(caught.value) == message


def test_attributes_that_a_fresh_module_lacks_are_set() -> None:
    new = Layer()
    structure.restore_(new, {"conv": {"seen": 3}}, {}, where="x")
    assert new.conv.seen == 3


def test_tensors_of_other_modules_are_left_to_the_loader() -> None:
    tensors: dict[str, Tensor] = {"other.weight": torch.zeros(3), "conv.nothing": torch.zeros(2)}
    structure.restore_(Layer(), {}, tensors, where="x")
