"""``squeeze.inspect``."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, overload

from squeeze.api import tables
from squeeze.api.inputs import model_of
from squeeze.api.served import exported
from squeeze.api.sessions import file_of
from squeeze.core.errors import InputError, SqueezeError
from squeeze.measure import cost
from squeeze.pruning.graph import find_groups
from squeeze.pruning.groups import PruningGroups
from squeeze.quantization.forecast import forecast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame
    from torch import nn

    from squeeze.api.inputs import Example, HasModel, ModelLike
    from squeeze.api.results import ExportResult, QuantizeResult
    from squeeze.models.types import Model
    from squeeze.quantization.forecast import Int8Forecast
    from squeeze.runtimes.base import Audit


@dataclass(frozen=True)
class LayerSummary:
    """A module that holds parameters or computes products itself.

    Attributes:
        layer: Its path in the module; empty for the module itself.
        kind: Its class.
        params: Its own parameters, without those of modules inside it.
        macs: Its own multiply-adds for one image.
        channels: Channels of the pruning group that its outputs belong to; None without one.
        prunable: ``yes``, or why its outputs stay; empty where it has none of its own.
        int8: Whether ``static_int8`` gives it int8 weights: convolutions, linear layers and
            attention. Which kernels run then, ``inspect`` of the quantized file says.
    """

    layer: str
    kind: str
    params: int
    macs: int
    channels: int | None
    prunable: str
    int8: bool


@dataclass(frozen=True)
class ModelSummary:
    """What a model costs, and what can be done about it.

    Attributes:
        source: The model, with its input.
        params: Parameters that inference reads.
        macs: Multiply-adds of one image.
        layers: In the module's order.
        groups: How many groups of coupled channels there are.
        prunable_groups: How many of them can be pruned.
        channels: Of all groups.
        prunable_channels: Of those that can be pruned.
        int8_macs: Share of the multiply-adds in layers that ``static_int8`` quantizes, [0, 1].
        int8: Which operations int8 kernels would run, as far as the graph tells before quantizing.
        not_traced: Why the channels are unknown, where the model cannot be traced; empty elsewhere.
        notes: What is rewritten before pruning, and layers that the forward pass never reaches.
    """

    source: "Model" = field(repr=False)
    params: int
    macs: int
    layers: tuple[LayerSummary, ...]
    groups: int
    prunable_groups: int
    channels: int
    prunable_channels: int
    int8_macs: float
    int8: "Int8Forecast"
    not_traced: str
    notes: tuple[str, ...]

    @property
    def model(self) -> "nn.Module":
        """The module that was looked at."""
        return self.source.module

    @property
    def pruning(self) -> str:
        """How much can be pruned, in one line."""
        return (
            f"none: {self.not_traced}"
            if self.not_traced
            else _share(self.prunable_groups, self.groups, self.prunable_channels, self.channels)
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """No files."""
        return ()

    def to_dict(self) -> dict[str, object]:
        """Return plain data."""
        names = (
            "params",
            "macs",
            "groups",
            "prunable_groups",
            "channels",
            "prunable_channels",
            "int8_macs",
        )
        return {name: getattr(self, name) for name in names} | {
            "int8": asdict(self.int8),
            "not_traced": self.not_traced,
            "layers": [asdict(layer) for layer in self.layers],
            "notes": list(self.notes),
        }

    def to_dataframe(self) -> "DataFrame":
        """Return a row per layer as a ``pandas.DataFrame``."""
        return tables.dataframe([asdict(layer) for layer in self.layers])

    def _repr_html_(self) -> str:
        title = (
            f"{self.params:,} params, {self.macs:,} MACs; {self.pruning}; static_int8 takes "
            f"{self.int8_macs:.1%} of the MACs"
        )
        return tables.html(title, [asdict(layer) for layer in self.layers], self.notes)


@dataclass(frozen=True)
class FileSummary:
    """Which kernels run an exported file on this machine, and what it holds.

    Attributes:
        files: The file.
        runtime: Its runtime.
        audit: Kernel coverage, operators, weights by type, and advice.
    """

    files: tuple[Path, ...]
    runtime: str
    audit: "Audit"

    @property
    def model(self) -> None:
        """No torch module."""
        return

    def to_dict(self) -> dict[str, object]:
        """Return plain data."""
        return {
            "files": [str(path) for path in self.files],
            "runtime": self.runtime,
            "audit": asdict(self.audit),
        }

    def to_dataframe(self) -> "DataFrame":
        """Return a row per node that runs in no fast int8 kernel, as a ``pandas.DataFrame``."""
        return tables.dataframe(self._rows())

    def _repr_html_(self) -> str:
        coverage = self.audit.coverage
        title = (
            f"{coverage.int8} of {coverage.total} convolutions and matrix products run in int8 "
            f"kernels; {self.audit.size_bytes:,} bytes"
        )
        return tables.html(title, self._rows(), self.audit.advice)

    def _rows(self) -> list[dict[str, object]]:
        coverage = self.audit.coverage
        nodes = (*coverage.survivors, *self.audit.islands, *coverage.slow)
        return [asdict(node) for node in nodes]


@overload
def inspect(  # type: ignore[overload-overlap]  # these hold a model too; their file counts
    model: "ExportResult | QuantizeResult",
    example: "Example | None" = None,
    *,
    keep: "Sequence[str]" = (),
) -> FileSummary: ...
@overload
def inspect(
    model: "nn.Module | Model | HasModel",
    example: "Example | None" = None,
    *,
    keep: "Sequence[str]" = (),
) -> ModelSummary: ...
@overload
def inspect(
    model: str | Path, example: "Example | None" = None, *, keep: "Sequence[str]" = ()
) -> ModelSummary | FileSummary: ...
def inspect(
    model: "ModelLike | ExportResult | QuantizeResult",
    example: "Example | None" = None,
    *,
    keep: "Sequence[str]" = (),
) -> ModelSummary | FileSummary:
    """Look into a model before changing it, or into a file before serving it.

    Args:
        model: A module in eval mode, a result, a bundle's folder, or an ``.onnx`` or ``.tflite``
            file.
        example: As for ``prune``; ignored for files.
        keep: Layers never pruned: patterns of module paths, or class names.

    Returns:
        Of a model: layers, parameters, MACs, what can be pruned, what would be int8. Of a file:
        which kernels run it, what it holds, and what to do about it.

    Raises:
        InputError: Wrong use: no example, a module in training mode, a pattern that matches no
            layer, a file of another kind.
        SqueezeError: The model cannot be traced.

    Example:
        >>> summary = squeeze.inspect(model, torch.randn(1, 3, 224, 224))
        >>> summary.macs, summary.prunable_channels
        (300774272, 16384)
    """
    place = file_of(model)
    if place is not None:
        return file_summary(place)
    return model_summary(model_of(model, example), keep)


def model_summary(
    model: "Model", keep: "Sequence[str]" = (), *, must_trace: bool = True
) -> ModelSummary:
    """Summarize a model that is built.

    Args:
        model: The model.
        keep: Layers never pruned.
        must_trace: Whether a model that cannot be traced is an error.

    Raises:
        InputError: A pattern of ``keep`` matches no layer.
        SqueezeError: The model cannot be traced.
    """
    groups, not_traced = PruningGroups(model.module, (), (), ()), ""
    try:
        groups = find_groups(model, keep=keep)
    except SqueezeError as error:
        if must_trace:
            raise
        not_traced = error.what
    layers = tuple(_layers(model, groups))
    macs = sum(layer.macs for layer in layers)
    notes = [f"rewritten before pruning: {name}" for name in groups.adapters]
    notes += [f"never reached by the forward pass: {path}" for path in groups.unreached]
    return ModelSummary(
        model,
        cost.params(model),
        macs,
        layers,
        len(groups.groups),
        len(groups.prunable),
        sum(group.channels for group in groups.groups),
        sum(group.channels for group in groups.prunable),
        sum(layer.macs for layer in layers if layer.int8) / macs if macs else 0.0,
        forecast(model),
        not_traced,
        tuple(notes),
    )


def file_summary(path: Path) -> FileSummary:
    """Summarize an exported file.

    Raises:
        InputError: No such file, of another kind, changed, or its runtime shows no kernels.
    """
    runtime = exported(path)
    if not runtime.audits:
        raise InputError(f"{runtime.name} does not show which kernels run", where=str(path))
    return FileSummary((path,), runtime.name, runtime.audit(path))


def _layers(model: "Model", groups: "PruningGroups") -> "list[LayerSummary]":
    """Return the modules that hold parameters or compute products, in order."""
    macs = cost.layer_macs(model)
    of_layer = {
        dependency.path: group
        for group in groups.groups
        for dependency in group.dependencies
        if dependency.is_out
    }
    summaries = []
    for path, part in model.module.named_modules():
        params = sum(one.numel() for one in part.parameters(recurse=False))
        if not params and path not in macs:
            continue
        group = of_layer.get(path)
        summaries.append(
            LayerSummary(
                path,
                type(part).__name__,
                params,
                macs.get(path, 0),
                None if group is None else group.channels,
                "" if group is None else group.kept or "yes",
                _is_quantized(part),
            )
        )
    return summaries


def prunable_share(groups: PruningGroups) -> str:
    """Return how much of a model can be pruned, in one line."""
    return _share(
        len(groups.prunable),
        len(groups.groups),
        sum(group.channels for group in groups.prunable),
        sum(group.channels for group in groups.groups),
    )


def _share(prunable: int, groups: int, prunable_channels: int, channels: int) -> str:
    return (
        f"{prunable} of {groups} groups can be pruned, with {prunable_channels:,} of {channels:,} "
        "channels"
    )


def _is_quantized(part: "nn.Module") -> bool:
    from torch import nn
    from torch.nn.modules.conv import _ConvNd

    return isinstance(part, _ConvNd | nn.Linear | nn.MultiheadAttention)
