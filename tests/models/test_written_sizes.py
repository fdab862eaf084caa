"""Sizes that code writes down are replaced while it runs, and nothing else."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from squeeze.core.errors import InputError
from squeeze.models import structure, written_sizes
from squeeze.models.written_sizes.forms import PAST_THE_END
from squeeze.models.written_sizes.running import CorrectedSizes

Calls = Callable[[Tensor], Any]


class Called(nn.Module):
    """Runs a function on its input."""

    def __init__(self, function: Calls) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def corrected(module: nn.Module, x: Tensor, *entries: tuple[int, float, float]) -> Any:
    """Run a module whose only call is given ``(place, written, left)``."""
    with written_sizes.numbered(module) as calls:
        module(x)
    (name,) = calls.names
    module.written_sizes = [[name[1], *entry] for entry in entries]
    written_sizes.install_(module)
    return module(x)


X = torch.arange(24.0).reshape(2, 12)
SHAPES: dict[str, Calls] = {
    "numbers": lambda x: x.view(2, 3, -1),
    "a tuple": lambda x: x.view((2, 3, -1)),
    "reshape": lambda x: x.reshape(2, 3, -1),
    "a function": lambda x: torch.reshape(x, (2, 3, -1)),
    "a keyword": lambda x: torch.reshape(x, shape=(2, 3, -1)),
}


@pytest.mark.parametrize("name", list(SHAPES))
def test_a_shape_however_it_is_given(name: str) -> None:
    assert corrected(Called(SHAPES[name]), X, (1, 3, 4)).shape == (2, 4, 3)


def test_a_shape_inside_a_shape() -> None:
    for function in (
        lambda x: x.unflatten(1, (3, -1)),
        lambda x: torch.unflatten(x, 1, (3, -1)),
        lambda x: torch.unflatten(x, dim=1, sizes=(3, -1)),
    ):
        assert corrected(Called(function), X, (0, 3, 6)).shape == (2, 6, 2)


def test_pieces() -> None:
    for function in (lambda x: x.split(6, 1), lambda x: torch.split(x, 6, dim=1)):
        assert len(corrected(Called(function), X, (0, 6, 4))) == 3
    for function in (
        lambda x: x.split([8, 3], 1),
        lambda x: torch.split(x, split_size_or_sections=[8, 3], dim=1),
        lambda x: x.split_with_sizes((8, 3), 1),
    ):
        with pytest.raises(RuntimeError, match="sum exactly to 12"):
            Called(function)(X)
        first, second = Called(lambda x: x.split([8, 4], 1))(X)
        assert (first.shape[1], second.shape[1]) == (8, 4)
    found = corrected(Called(lambda x: x.split([8, 4], 1)), X, (0, 8, 5), (1, 4, 7))
    assert [piece.shape[1] for piece in found] == [5, 7]


def test_ranges() -> None:
    assert corrected(Called(lambda x: x.narrow(1, 4, 6)), X, (0, 4, 2), (1, 6, 3))[0].tolist() == [
        2.0,
        3.0,
        4.0,
    ]
    cases: list[tuple[Calls, tuple[tuple[int, int, int], ...], list[int]]] = [
        (lambda x: x[:, 4:8], ((2, 4, 2), (3, 8, 5)), [2, 3, 4]),
        (lambda x: x[..., :8], ((3, 8, 2),), [0, 1]),
        (lambda x: x[:, -8:], ((2, -8, -2),), [10, 11]),
        (lambda x: x[:, -8:], ((2, -8, 0),), []),
        (lambda x: x[:, :-11], ((3, -11, -10),), [0, 1]),
        (lambda x: x[:, :-1], ((3, -1, 0),), list(range(12))),
    ]
    for function, entries, expected in cases:
        assert corrected(Called(function), X, *entries)[0].tolist() == expected


def test_factors_and_the_scale_of_attention_stay() -> None:
    cases: list[tuple[Calls, float, Tensor]] = [
        (lambda x: x * 0.5, 0.5, 4 * X),
        (lambda x: 0.5 * x, 0.5, 4 * X),
        (lambda x: x / 2.0, 2.0, X / 4),
    ]
    for function, number, expected in cases:
        module = Called(function)
        with written_sizes.numbered(module) as calls:
            module(X)
        assert list(calls.numbers.values()) == [number]
        torch.testing.assert_close(corrected(module, X, (0, 4.0, 4.0)), expected)
    q = torch.randn(1, 2, 3, 4)
    found = corrected(
        Called(lambda x: functional.scaled_dot_product_attention(x, x, x)), q, (0, 16, 4)
    )
    expected = functional.scaled_dot_product_attention(q, q, q, scale=0.25)
    torch.testing.assert_close(found, expected)


class Layer(nn.Module):
    """Caches something in its first pass, and calls the same line twice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Called(lambda x: x.reshape(2, 12))
        self.cache: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.cache is None:
            self.cache = torch.ones(6).view(2, 3)
        for _ in range(2):
            x = self.inner(x).view(2, 12).view(2, -1)
        return x.view(2, 3, 4)


def test_calls_are_told_apart_by_line_and_turn_whatever_else_is_called() -> None:
    module = Layer()
    with written_sizes.numbered(module) as calls:
        module(X)
    names = [name for path, name in calls.names if not path]
    loop = [f"forward:4#{number}" for number in (1, 2, 3, 4)]
    assert names == ["forward:2#1", *loop, "forward:5#1"]
    module.written_sizes = [["forward:5#1", 1, 3, 6], ["forward:5#1", 2, 4, 2]]
    written_sizes.install_(module)
    assert module(X).shape == (2, 6, 2)  # although the cache is made only once
    assert module.forward(X).shape == (2, 6, 2)
    module.inner.register_forward_hook(lambda *call: call[2].view(2, 12) * 1.0)
    assert module(X).shape == (2, 6, 2)


def test_the_module_stays_what_it_was() -> None:
    module = Layer()
    module.written_sizes = [["forward:5#1", 1, 3, 6], ["forward:5#1", 2, 4, 2]]
    written_sizes.install_(module)
    assert isinstance(module, Layer)
    assert type(module).__name__ == "Layer"
    assert list(written_sizes.holders(module)) == [module]
    twin = copy.deepcopy(module)
    twin.written_sizes = [["forward:5#1", 1, 3, 12], ["forward:5#1", 2, 4, 1]]
    assert (module(X).shape, twin(X).shape) == ((2, 6, 2), (2, 12, 1))
    assert type(twin) is type(module)
    compiled = torch.compile(module, backend="eager")
    assert torch.equal(compiled(X), module(X))


@pytest.mark.parametrize(
    "value",
    [3, [3], ["call"], [["call", 0, 8]], [["call", -1, 8, 4]], [[1, 0, 8, 4]], [["c", 0, "8", 4]]],
)
def test_a_record_of_something_else_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="its record cannot set 'written_sizes' of a Layer"):
        structure.restore_(Layer(), {"": {"written_sizes": value}}, {}, where="bundle")


def test_what_is_asked_may_be_left() -> None:
    asked: list[tuple[str, int]] = []

    def ask(call: str, place: int) -> bool:
        asked.append((call, place))
        return False

    module = Layer()
    module.written_sizes = [["forward:5#1", 1, 3, 6], ["forward:5#1", 2, 4, 4]]
    written_sizes.install_(module, ask)
    assert module(X).shape == (2, 3, 4)
    assert asked == [("forward:5#1", 1)]
    assert X.numel() < PAST_THE_END
    with CorrectedSizes(module, []):
        assert X.view(3, 8).shape == (3, 8)
