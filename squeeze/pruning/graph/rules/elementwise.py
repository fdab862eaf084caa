"""Operators that work place by place, and those that leave every element where it is."""

from typing import TYPE_CHECKING

from squeeze.pruning.graph.call import Call, join
from squeeze.pruning.graph.labels import Labelled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from squeeze.pruning.graph.call import Rule

_SAME = """alias clone contiguous detach to _to_copy type_as lift_fresh_copy lift_fresh
    dropout alpha_dropout feature_dropout feature_alpha_dropout native_dropout
    requires_grad_ positive resolve_conj resolve_neg zero fill"""
_POINTWISE = """relu relu6 hardtanh hardswish hardsigmoid silu mish gelu elu selu celu leaky_relu
    rrelu softplus softshrink hardshrink softsign tanhshrink threshold log_sigmoid sigmoid tanh
    prelu clamp clip add sub rsub mul div true_divide divide multiply where lerp addcmul addcdiv
    masked_fill pow square float_power copy_ maximum minimum fmod remainder threshold
    logical_and logical_or logical_not nan_to_num __and__ __or__ bitwise_and bitwise_or"""
_PRODUCTS = {"mul", "multiply"}


def same(call: Call) -> Labelled:
    """Return the first argument's labels."""
    found: Labelled = call.args[0]
    return found


def pointwise(call: Call) -> Labelled:
    """Join all operands place by place."""
    if call.several:  # ``where`` with a condition alone
        found: Labelled = call.unknown()
        return found
    return join(call, list(call.tensors()), call.shape, product=call.name in _PRODUCTS)


def prelu(call: Call) -> Labelled:
    """Join the input with one slope per channel, or with a slope for all."""
    x, slope = call.args[:2]
    if len(slope.shape) == 1 and slope.shape[0] > 1:
        slope = per_channel(slope, len(x.shape))
    return join(call, [x, slope], call.shape)


def glu(call: Call) -> Labelled:
    """Halve along a dimension; each half's channels go with the other's."""
    x, dim = call.args[0], call.argument(1, "dim", -1)
    half = x.shape[dim] // 2
    parts = [
        x.with_maps(
            [
                labels.narrow(dim, start, half) if labels.shape[dim] > 1 else labels
                for labels in x.maps
            ],
            call.shape,
        )
        for start in (0, half)
    ]
    return join(call, parts, call.shape)


def per_channel(vector: Labelled, ndim: int) -> Labelled:
    """Return a vector ``(C,)`` as ``(1, C, 1, ...)``."""
    shape = (1, -1, *[1] * (ndim - 2)) if ndim > 1 else (-1,)
    maps = [labels.reshape(shape) for labels in vector.maps]
    full = tuple(vector.shape[0] if size == -1 else size for size in shape)
    return vector.with_maps(maps, full)


RULES: "Mapping[str, Rule]" = (
    dict.fromkeys(_POINTWISE.split(), pointwise)
    | dict.fromkeys(_SAME.split(), same)
    | {"prelu": prelu, "_prelu_kernel": pointwise, "glu": glu}
)
