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


def averages_channels(module: nn.Module, cut: "ChannelCut") -> bool:
    """Tell whether what is cut is a norm whose statistics run over channels."""
    return cut.dependency.dimension is None and isinstance(
        module.get_submodule(cut.dependency.path), _NORMS
    )


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


class NormOfTheRest:
    """The forward function of a norm whose statistics leave silent channels out.

    Args:
        module: The cut model, which is run first: it shows in which dimension channels are.
        cut: What the norm has lost in it.
    """

    def __init__(self, module: nn.Module, cut: "ChannelCut") -> None:
        self.rest = module.get_submodule(cut.dependency.path)
        self.gone = cut.indices
        self.shape: tuple[int, ...] = ()
        self.rest.register_forward_pre_hook(self._note)

    def _note(self, norm: nn.Module, inputs: "tuple[Tensor, ...]") -> None:
        del norm
        self.shape = tuple(inputs[0].shape)

    def __call__(self, x: "Tensor") -> "Tensor":
        """Return what is normalised of the channels that stay, and zeros for the others."""
        sizes = enumerate(zip(x.shape, self.shape, strict=True))
        axis = next((axis for axis, (full, left) in sizes if full != left), None)
        if axis is None:
            return self.rest(x)  # type: ignore[no-any-return]
        gone = set(self.gone)
        kept = torch.tensor([channel for channel in range(x.shape[axis]) if channel not in gone])
        found = self.rest(x.index_select(axis, kept))
        return torch.zeros_like(x, dtype=found.dtype).index_copy(axis, kept, found)


def silence_(
    module: nn.Module, cuts: "Iterable[ChannelCut]", norms: "Mapping[str, NormOfTheRest]"
) -> None:
    """Silence channels in place; parameters are replaced, not written.

    Args:
        module: The uncut model.
        cuts: What would be removed.
        norms: Path to what stands for a norm over channels.
    """
    for cut in cuts:
        if cut.dependency.dimension is not None:
            owner, _, leaf = cut.dependency.path.rpartition(".")
            _fill_(module.get_submodule(owner), leaf, cut.dependency.dimension, cut.indices)
            continue
        layer: Any = module.get_submodule(cut.dependency.path)
        if isinstance(layer, Select):
            _silence_select_(layer, cut)
        elif isinstance(layer, _LAYERS):
            _silence_layer_(layer, cut)
        elif cut.dependency.path in norms:
            layer.forward = norms[cut.dependency.path]
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
    parameter = layer.get_parameter(name)
    silent = parameter.detach().index_fill(axis, torch.tensor(indices), 0)
    layer._parameters[name] = nn.Parameter(silent, requires_grad=False)  # noqa: SLF001
