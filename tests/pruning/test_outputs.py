"""Tensors are found in whatever holds them, and compared by the spread of their values."""

import math
from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from squeeze.pruning import outputs

Pair = namedtuple("Pair", "boxes scores")  # noqa: PYI024  (what libraries return)


@dataclass
class Result:
    logits: Tensor
    states: tuple[Tensor, ...] | None = None


def test_tensors_are_found_at_their_places() -> None:
    one, two, three = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    held = OrderedDict(a=Result(one, (two,)), b=[Pair(three, 0.5), "name", None])
    found = {place: tuple(tensor.shape) for place, tensor in outputs.tensors(held)}
    assert found == {
        "['a'].logits": (1,),
        "['a'].states[0]": (2,),
        "['b'][0][0]": (3,),
        "['b'][0][1]": (),
    }
    assert outputs.shapes({"": two}) == "(2,)"
    assert outputs.shapes(dict(outputs.tensors([one, two]))) == "[0] (1,), [1] (2,)"


@pytest.mark.parametrize(
    ("found", "expected", "distance"),
    [
        ([0.0, 1.0, 4.0], [0.0, 2.0, 4.0], 0.25),
        ([1000.0, 1004.0], [1000.0, 1005.0], 0.2),  # an offset is no excuse
        ([1.0, 1.0], [1.0, 1.0], 0.0),
        ([1.0, 1.1], [1.0, 1.0], math.inf),
        ([1.0, math.inf], [1.0, math.inf], 0.0),
        ([1.0, math.nan], [1.0, 2.0], math.inf),
        ([1.0, 2.0], [1.0, math.nan], math.inf),
        ([1.0, 2.0], [1.0, 2.0, 3.0], math.inf),
        ([True, False], [True, True], math.inf),
        ([1e6, 1e6 + 0.1], [1e6, 1e6 + 0.11], 0.0),  # single precision knows no better
    ],
)
def test_distance_is_a_fraction_of_the_spread(
    found: list[float], expected: list[float], distance: float
) -> None:
    one, other = {"x": torch.tensor(found)}, {"x": torch.tensor(expected)}
    assert outputs.distance(one, other) == pytest.approx(distance)


def test_the_farthest_output_counts() -> None:
    same, other = torch.tensor([0.0, 1.0]), torch.tensor([0.0, 2.0])
    assert outputs.distance({"a": same, "b": same}, {"a": same, "b": other}) == 0.5
    assert outputs.distance({"a": same}, {"b": same}) == math.inf
    assert outputs.distance({}, {}) == 0.0
