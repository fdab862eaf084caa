"""Normalisations: their parameters go with the channels that they scale."""

from typing import TYPE_CHECKING

from squeeze.pruning.graph import exported
from squeeze.pruning.graph.call import Call, join
from squeeze.pruning.graph.labels import Labelled, varying
from squeeze.pruning.graph.rules.elementwise import per_channel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from squeeze.pruning.graph.call import Rule


def batch_norm(call: Call) -> Labelled:
    """Batch and instance norms: channel by channel."""
    x = call.args[0]
    vectors = [one for one in call.args[1:5] if isinstance(one, Labelled)]
    if call.name == "batch_norm" and call.argument(5, "training", default=False):
        _averaged(call, x, [dim for dim in range(len(x.shape)) if dim != 1])
    own = [per_channel(one, len(x.shape)) for one in vectors]
    _count(call, x, 1, vectors)
    return join(call, [x, *own], x.shape)


def layer_norm(call: Call) -> Labelled:
    """Layer and RMS norms: over the last dimensions."""
    x, shape = call.args[:2]
    scales = [one for one in call.args[2:4] if isinstance(one, Labelled)]
    dims = range(len(x.shape) - len(shape), len(x.shape))
    for labels in x.maps:
        if not set(dims).isdisjoint(varying(labels)):
            call.coupling.renormed.append(labels)
    if len(shape) == 1:
        _count(call, x, len(x.shape) - 1, scales)
    return join(call, [x, *scales], x.shape)


def group_norm(call: Call) -> Labelled:
    """Group norms: equally many channels of every group go."""
    x, groups = call.args[:2]
    scales = [per_channel(one, len(x.shape)) for one in call.args[2:4] if isinstance(one, Labelled)]
    for labels in x.maps:
        if labels.shape[1] > 1:
            parts = labels.unflatten(1, (groups, -1))
            call.coupling.tie(parts.narrow(1, 0, 1), parts)
            if parts.shape[2] > 1:
                call.coupling.renormed.append(labels)
    _count(call, x, 1, scales)
    return join(call, [x, *scales], x.shape)


def weight_norm(call: Call) -> Labelled:
    """``g * v / |v|``: the length of a filter counts all that it reads, so inputs stay."""
    v, g = call.args[:2]
    dim = call.argument(2, "dim", 0)
    kept = [labels for labels in v.maps if labels.shape[dim] > 1 or not varying(labels)]
    for labels in v.maps:
        if labels.shape[dim] == 1 and varying(labels):
            call.stay(labels, "is under a weight norm (remove it before pruning)")
    found = join(call, [v.with_maps(kept), g], v.shape)
    rest = [labels for labels in v.maps if labels.shape[dim] == 1 and varying(labels)]
    return found.with_maps([*found.maps, *rest])


def _averaged(call: Call, x: Labelled, dims: "list[int]") -> None:
    for labels in x.maps:
        if not set(dims).isdisjoint(varying(labels)):
            call.coupling.renormed.append(labels)  # such as the inputs of standardised weights


def _count(call: Call, x: Labelled, dim: int, vectors: "Sequence[Labelled]") -> None:
    """Note that a norm without weights knows how many channels there are."""
    if vectors:
        return
    for labels in x.maps:
        if labels.shape[dim] > 1:
            others = [other for other in range(labels.ndim) if other != dim]
            found = call.coupling.collapse(labels, others).reshape(-1)
            call.coupling.count(exported.owner(call.node), found)


RULES: "Mapping[str, Rule]" = {
    "batch_norm": batch_norm,
    "instance_norm": batch_norm,
    "layer_norm": layer_norm,
    "rms_norm": layer_norm,
    "group_norm": group_norm,
    "_weight_norm": weight_norm,
}
