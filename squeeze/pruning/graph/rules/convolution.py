"""Convolutions: they end the channels that they read and begin those that they make, by group."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from squeeze.pruning.graph.call import Call, join
from squeeze.pruning.graph.labels import Labelled, varying
from squeeze.pruning.graph.rules.elementwise import per_channel
from squeeze.pruning.graph.rules.weights import vector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from squeeze.pruning.graph.call import Rule


def convolution(call: Call) -> Labelled:
    """Convolutions of any rank: channels in, channels out, in groups."""
    x, weight = call.args[:2]
    bias = call.argument(2, "bias")
    transposed = call.name.startswith("conv_transpose")
    groups = call.argument(6, "groups", 1)
    if call.name == "convolution":
        transposed, groups = call.args[6], call.args[8]
    if len(x.shape) != len(weight.shape):
        found: Labelled = call.unknown()
        return found
    read = vector(call, weight, 0 if transposed else 1)
    made = vector(call, weight, 1 if transposed else 0, is_made=True)
    single = weight.shape[0] == groups if transposed else weight.shape[1] == 1 < groups
    form = _Form(groups, transposed, single)
    outputs = _made(call, form, read, made)
    inputs = _read(call, form, x, read)
    if single and inputs is not None and outputs is not None:  # a group goes with its input
        per_group = inputs.reshape(groups, 1)
        call.coupling.tie(per_group, outputs.reshape(groups, -1))
    elif outputs is not None:
        call.coupling.make(outputs)
    shape = (1, -1, *[1] * (len(x.shape) - 2))
    maps = () if outputs is None else (outputs.reshape(shape),)
    done = Labelled(call.shape, maps)
    return done if bias is None else join(call, [done, per_channel(bias, len(x.shape))], call.shape)


@dataclass(frozen=True)
class _Form:
    """How a convolution's channels come in groups.

    Attributes:
        groups: How many there are.
        transposed: Whether a weight's first dimension reads.
        single: Whether every group reads one channel, so that it goes with that channel.
    """

    groups: int
    transposed: bool
    single: bool


def _made(call: Call, form: _Form, read: "Tensor | None", made: "Tensor | None") -> "Tensor | None":
    """Return the labels of all outputs; equally many of every group go."""
    if form.transposed:
        if form.single and read is not None:  # weights (I, O/I): outputs come with their inputs
            width = 1 if made is None else len(made)
            return read.reshape(-1, 1).expand(-1, width).reshape(-1)
        return None if made is None else made.repeat(form.groups)
    if made is not None and form.groups > 1 and not form.single:
        parts = made.reshape(form.groups, -1)
        call.coupling.tie(parts[:1], parts)
    return made


def _inputs(call: Call, x: Labelled) -> "Tensor | None":
    """Return the labels of the input's channels, wherever they are in the map."""
    channels = None
    for labels in x.maps:
        if labels.shape[1] > 1 or (x.shape[1] == 1 and not varying(labels)):
            spatial = [dim for dim in range(labels.ndim) if dim != 1]
            channels = call.coupling.collapse(labels, spatial).reshape(-1)
        else:
            call.stay(labels, "is mixed as positions of a convolution")
    return channels


def _read(call: Call, form: _Form, x: Labelled, read: "Tensor | None") -> "Tensor | None":
    """Tie the input's channels to what the weight reads of them; return their labels."""
    channels = _inputs(call, x)
    if channels is None:
        if read is not None and x.fixed:
            call.stay(read, "reads numbers that no layer makes")
    elif read is None:
        if len(channels) > 1 and not form.single:
            call.stay(channels, "is read by a weight that no layer holds")
    elif form.transposed:
        parts = read.reshape(form.groups, -1)
        if parts.shape[1] > 1:
            call.coupling.tie(parts[:1], parts)
        call.coupling.tie(channels, read)
    else:
        call.coupling.tie(channels.reshape(form.groups, -1), read.reshape(1, -1))
    return channels


_CONVOLUTIONS = """conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d
    conv_transpose3d"""

RULES: "Mapping[str, Rule]" = dict.fromkeys(_CONVOLUTIONS.split(), convolution)
