"""Silence channels of a model: they are made as zeros and read with zeros, at full width."""

from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253  (imported only where a model is)
from torch import nn  # noqa: TID253
from torch.nn.utils import parametrize  # noqa: TID253

from squeeze.models.adapters.layers.select import Select

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor

    from squeeze.pruning.groups import ChannelCut

_LAYERS = nn.modules.conv._ConvNd | nn.Linear  # noqa: SLF001  (the only common base)
_NORMS = nn.LayerNorm | nn.GroupNorm | nn.RMSNorm


class Zeros(nn.Module):
    """A parametrization: a weight with zeros, made whenever it is read and never kept.

    Args:
        places: ``(rows, columns)`` that are zero, each an index of the first two dimensions.
    """

    def __init__(self, places: "Sequence[tuple[Any, Any]]") -> None:
        super().__init__()
        self.places = list(places)

    def forward(self, weight: "Tensor") -> "Tensor":
        """Return the weight with zeros."""
        silent = weight.clone()
        for rows, columns in self.places:
            silent[rows, columns] = 0
        return silent


class LayerOfTheRest:
    """The forward function of a layer whose statistics leave silent channels out.

    The cut model's layer works on the channels that stay; what it has lost is zero.

    Args:
        layer: Of the cut model, which is run first: a norm shows then in which dimension its
            channels are.
        inputs: Channels that it no longer reads.
        outputs: Channels that it no longer makes.
        axis: Of the channels, counted from the last one; None where it is to be seen.
    """

    def __init__(
        self,
        layer: nn.Module,
        inputs: "Sequence[int]",
        outputs: "Sequence[int]",
        axis: int | None = None,
    ) -> None:
        self.layer = layer
        self.inputs = inputs
        self.outputs = outputs
        self.axis = axis
        self.shape: tuple[int, ...] = ()
        layer.register_forward_pre_hook(self._note)

    def _note(self, layer: nn.Module, inputs: "tuple[Tensor, ...]") -> None:
        del layer
        self.shape = tuple(inputs[0].shape)

    def __call__(self, x: "Tensor") -> "Tensor":
        """Return what the layer makes of the channels that stay, and zeros for the others."""
        axis = self.axis
        if axis is None:
            sizes = enumerate(zip(x.shape, self.shape, strict=True))
            axis = next((axis for axis, (full, left) in sizes if full != left), None)
        if axis is None:
            return self.layer.forward(x)  # type: ignore[no-any-return]
        if self.inputs:
            x = x.index_select(axis, _left(x.shape[axis], self.inputs))
        found: Tensor = self.layer.forward(x)  # its hooks run around this function
        if not self.outputs:
            return found
        width = found.shape[axis] + len(self.outputs)
        shape = list(found.shape)
        shape[axis] = width
        return found.new_zeros(shape).index_copy(axis, _left(width, self.outputs), found)


def _left(width: int, gone: "Sequence[int]") -> "Tensor":
    lost = set(gone)
    return torch.tensor([channel for channel in range(width) if channel not in lost])


def layers_of_the_rest(
    narrow: nn.Module, module: nn.Module, cuts: "Iterable[ChannelCut]"
) -> dict[str, LayerOfTheRest]:
    """Return what stands for layers that count over channels, by path.

    These are norms over channels, and convolutions and linear layers of classes of their own that
    read fewer channels: their weights may be standardised over what they read.

    Args:
        narrow: The cut model.
        module: The uncut one.
        cuts: What was removed.
    """
    gone: dict[str, tuple[list[int], list[int]]] = {}
    for cut in cuts:
        if cut.dependency.dimension is None:
            sides = gone.setdefault(cut.dependency.path, ([], []))
            sides[cut.dependency.is_out].extend(cut.indices)
    found = {}
    for path, (inputs, outputs) in gone.items():
        layer: Any = module.get_submodule(path)
        if isinstance(layer, _NORMS):
            found[path] = LayerOfTheRest(narrow.get_submodule(path), outputs, outputs)
        elif isinstance(layer, _LAYERS) and inputs and not _is_plain(layer):
            axis = 1 - layer.weight.ndim
            found[path] = LayerOfTheRest(narrow.get_submodule(path), inputs, outputs, axis)
    return found


def _is_plain(layer: nn.Module) -> bool:
    """Tell a layer that reads its weight as it is."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    return type(layer) in (*kinds, *transposed)


def silence_(
    module: nn.Module, cuts: "Iterable[ChannelCut]", rests: "Mapping[str, LayerOfTheRest]"
) -> None:
    """Silence channels in place; parameters are replaced, not written.

    Args:
        module: The uncut model.
        cuts: What would be removed.
        rests: Path to what stands for a layer that counts over channels.
    """
    for cut in cuts:
        if cut.dependency.dimension is not None:
            owner, _, leaf = cut.dependency.path.rpartition(".")
            _fill_(module.get_submodule(owner), leaf, cut.dependency.dimension, cut.indices)
            continue
        layer: Any = module.get_submodule(cut.dependency.path)
        if cut.dependency.path in rests:
            layer.forward = rests[cut.dependency.path]
        elif isinstance(layer, Select):
            _silence_select_(layer, cut)
        elif isinstance(layer, _LAYERS):
            _silence_layer_(layer, cut)
        else:
            for name, parameter in list(layer.named_parameters(recurse=False)):
                if parameter.ndim == 1 and max(cut.indices) < len(parameter):
                    _fill_(layer, name, 0, cut.indices)


def _silence_select_(layer: Select, cut: "ChannelCut") -> None:
    """Pick zeros for removed inputs where the outputs stay; else they are silent already."""
    if not cut.dependency.is_out and not layer.coupled:
        gone = set(cut.indices)
        layer.picks = [-1 if source in gone else source for source in layer.picks]
        layer.derive_()


def _silence_layer_(layer: Any, cut: "ChannelCut") -> None:  # noqa: ANN401
    groups = getattr(layer, "groups", 1)
    is_depthwise = 1 < groups == layer.in_channels == layer.out_channels
    makes = cut.dependency.is_out or is_depthwise
    parametrize.register_parametrization(
        layer, "weight", Zeros(_places(layer, cut.indices, groups, makes=makes))
    )
    if makes and layer.bias is not None:
        _fill_(layer, "bias", 0, cut.indices)


def _places(
    layer: Any,  # noqa: ANN401
    indices: "Sequence[int]",
    groups: int,
    *,
    makes: bool,
) -> list[tuple[Any, Any]]:
    """Return where a convolution's or linear layer's weight holds channels that it makes or reads.

    One dimension of a grouped weight counts channels inside their group.
    """
    everything = slice(None)
    if makes != getattr(layer, "transposed", False):
        return [(list(indices), everything)]
    width, rows = layer.weight.shape[1], layer.weight.shape[0] // groups
    inside: dict[int, list[int]] = {}
    for index in indices:
        inside.setdefault(index // width, []).append(index % width)
    return [(slice(g * rows, (g + 1) * rows), columns) for g, columns in inside.items()]


def _fill_(layer: nn.Module, name: str, axis: int, indices: "Sequence[int]") -> None:
    tensor = getattr(layer, name)
    silent = tensor.detach().index_fill(axis, torch.tensor(indices), 0)
    if isinstance(tensor, nn.Parameter):
        layer._parameters[name] = nn.Parameter(silent, requires_grad=False)  # noqa: SLF001
    else:
        setattr(layer, name, silent)
