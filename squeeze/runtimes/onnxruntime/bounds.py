"""Bounds of a clamp that are of one type, as torch's ONNX exporter needs them.

It makes a tensor of the bound whose type is not the input's, and of ``x.clamp(0.2, 3)`` a call with
a number and a tensor, which no operator takes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def of_one_type() -> Iterator[None]:
    """Trace clamps with an integer and a float bound as clamps with two floats, which they are."""
    import torch
    from torch.overrides import TorchFunctionMode

    tensor = torch.Tensor
    clamps = {
        torch.clamp, torch.clamp_, torch.clip, torch.clip_,
        tensor.clamp, tensor.clamp_, tensor.clip, tensor.clip_,
        torch.ops.aten.clamp.default, torch.ops.aten.clamp_.default,
    }  # fmt: skip

    class Bounds(TorchFunctionMode):  # type: ignore[misc, unused-ignore]
        def __torch_function__(
            self,
            func: "Callable[..., object]",
            types: object,
            args: tuple[object, ...] = (),
            kwargs: dict[str, object] | None = None,
        ) -> object:
            del types
            named = kwargs or {}
            if func in clamps:
                numbers = [value for value in (*args[1:], *named.values()) if _is_number(value)]
                if any(isinstance(value, float) for value in numbers):
                    args = (args[0], *map(_as_float, args[1:]))
                    named = {key: _as_float(value) for key, value in named.items()}
            return func(*args, **named)

    with Bounds():
        yield


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _as_float(value: object) -> object:
    return float(value) if isinstance(value, int) else value
