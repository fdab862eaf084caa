"""How functions are given sizes, and how these are replaced."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch  # noqa: TID253  (imported only where a model is)
from torch import Tensor  # noqa: TID253
from torch.nn import functional  # noqa: TID253

Entry = Sequence[Any]
"""``(call, place, written, left)``."""
SCALE = 1
"""The place of the scale that code gives to attention; at place 0 is the width."""
PAST_THE_END = 2**62


@dataclass
class SizedCall:
    """A call of a function that takes sizes, while they are corrected."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    replaced: list[int] = field(default_factory=list)
    """Places whose sizes were others."""


@dataclass(frozen=True)
class _Listed:
    """Sizes as an argument: a number, a sequence, or all the arguments from one on.

    Attributes:
        first: Position of the argument.
        names: Its keywords.
    """

    first: int
    names: tuple[str, ...] = ("shape", "size")

    def correct_(self, call: SizedCall, entries: "Sequence[Entry]") -> None:
        """Put in the sizes that are left."""
        name = next((name for name in self.names if name in call.kwargs), None)
        before, own = call.args[: self.first], call.args[self.first :]
        if name:
            call.kwargs[name] = _put(call, call.kwargs[name], entries)
        elif len(own) and isinstance(own[0], list | tuple):
            call.args = (*before, _put(call, own[0], entries), *own[1:])
        else:
            call.args = (*before, *_put(call, own, entries))


def _put(call: SizedCall, sizes: Any, entries: "Sequence[Entry]") -> Any:  # noqa: ANN401
    found = list(sizes) if isinstance(sizes, list | tuple) else [sizes]
    for _, place, _, left in entries:
        if place < len(found) and isinstance(found[place], int) and found[place] != left:
            found[place] = left
            call.replaced.append(place)
    return tuple(found) if isinstance(sizes, list | tuple) else found[0]


class _Indexed:
    """``x[:, a:b]``: the start of dimension ``d`` is at place ``2 d``, its end behind it."""

    def correct_(self, call: SizedCall, entries: "Sequence[Entry]") -> None:
        """Put in the starts and ends that are left."""
        slices = _by_dimension(*call.args)
        if slices is None:
            return
        for _, place, written, left in entries:
            dim, is_end = divmod(place, 2)
            if dim >= len(slices):
                continue
            old = slices[dim]
            end = old.stop if is_end else old.start
            if isinstance(end, int) and end != left:
                # minus nothing is the beginning, for Python
                new = PAST_THE_END if written < 0 and not left else left
                start, stop = (old.start, new) if is_end else (new, old.stop)
                slices[dim] = slice(start, stop, old.step)
                call.replaced.append(place)
        if call.replaced:
            call.args = (call.args[0], tuple(slices))


def _by_dimension(x: Any, index: Any) -> list[slice] | None:  # noqa: ANN401
    """Return one slice per dimension, None where there is anything else."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if any(part is not Ellipsis and not isinstance(part, slice) for part in parts):
        return None
    if not isinstance(x, Tensor):  # traced by torch.fx: of unknown dimensions
        return None if Ellipsis in parts else parts
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts[at : at + 1] = [slice(None)] * (x.ndim - len(parts) + 1)
    return parts + [slice(None)] * (x.ndim - len(parts))


class Scaled:
    """Attention scales scores by the width of a head, unless it is told by how much: place 1."""

    def number(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float | None:
        """Return the scale that the code gives."""
        del args
        scale = kwargs.get("scale")
        return scale if isinstance(scale, float) else None

    def correct_(self, call: SizedCall, entries: "Sequence[Entry]") -> None:
        """Give the scale of the width that there was."""
        given = call.kwargs.get("scale")
        for _, place, written, left in entries:
            if place == SCALE and isinstance(given, float) and given != written:
                call.kwargs["scale"] = written
                call.replaced.append(place)
            elif place != SCALE and given is None and left != written:
                call.kwargs["scale"] = written**-0.5
                call.replaced.append(place)


class Factor:
    """``x * 0.125``: a number that the code may work out of a width."""

    def number(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float | None:
        """Return the number."""
        del kwargs
        return args[1] if len(args) > 1 and isinstance(args[1], float) else None

    def correct_(self, call: SizedCall, entries: "Sequence[Entry]") -> None:
        """Put in the number that there was."""
        for _, place, written, _ in entries:
            if self.number(call.args, call.kwargs) not in {None, written}:
                call.args = (call.args[0], written, *call.args[2:])
                call.replaced.append(place)


_SHAPE = _Listed(1)
_PIECES = _Listed(1, ("split_size_or_sections", "split_size", "split_sizes"))
_RANGE = _Listed(2, ())
_NESTED = _Listed(2, ("sizes",))
_FACTOR = Factor()
FORMS: dict[Any, Any] = {
    Tensor.view: _SHAPE,
    Tensor.reshape: _SHAPE,
    torch.reshape: _SHAPE,
    Tensor.expand: _SHAPE,
    Tensor.unflatten: _NESTED,
    torch.unflatten: _NESTED,
    Tensor.split: _PIECES,
    torch.split: _PIECES,
    Tensor.split_with_sizes: _PIECES,
    torch.split_with_sizes: _PIECES,
    Tensor.narrow: _RANGE,
    torch.narrow: _RANGE,
    Tensor.__getitem__: _Indexed(),
    functional.scaled_dot_product_attention: Scaled(),
    Tensor.mul: _FACTOR,
    Tensor.mul_: _FACTOR,
    torch.mul: _FACTOR,
    Tensor.div: _FACTOR,
    Tensor.div_: _FACTOR,
    torch.div: _FACTOR,
}
