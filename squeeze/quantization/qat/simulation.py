"""The float model as the int8 files will compute it: rounded weights and activations."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import Field

from squeeze.core.errors import SqueezeError
from squeeze.models.copying import copied
from squeeze.quantization.activation_ranges import Calibration
from squeeze.quantization.qat import norms, products
from squeeze.quantization.qat.places import Place, int8_readers, places
from squeeze.quantization.recovery import graph as graphs
from squeeze.quantization.recovery import observe
from squeeze.quantization.recovery.recover import LARGEST
from squeeze.recipe import records
from squeeze.recipe.schema import Block
from squeeze.store import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn
    from torch.fx import GraphModule, Node

    from squeeze.core.types import Progress
    from squeeze.data.splits import Split
    from squeeze.models.types import Model
    from squeeze.quantization.qat.rounding import RoundedConv2d, RoundedLinear, Rounding
    from squeeze.recipe.schema import CalibratorBlock

_FILE = "ranges.json"
_HINT = "use scheme: static_int8 for this model"
WHERE = "quantization-aware training"
_PREFIX = "rounding_"
_SIX = 6.0


class Ranges(Block):
    """What training found out besides weights: ``ranges.json`` in the step's bundle.

    Attributes:
        bits: Of the weights, 7 or 8.
        activations: Node of the traced, folded model to the (low, high) of its int8 values.
        in_float: The nodes of it that compute in float, each with the reason.
    """

    bits: int
    activations: dict[str, tuple[float, float]]
    in_float: dict[str, str] = Field(default_factory=dict)


def write(ranges: Ranges, bundle: Path) -> None:
    """Put the ranges into a bundle's folder."""
    write_text(bundle / _FILE, ranges.model_dump_json(indent=1))


def read(bundle: Path) -> Ranges | None:
    """Return the ranges in a bundle's folder; None where there are none."""
    path = bundle / _FILE
    return records.read(path, Ranges) if path.is_file() else None


@dataclass(frozen=True)
class Simulation:
    """A model that rounds as int8 kernels do, and learns.

    Attributes:
        module: Its layers keep the paths that they have in the float model.
        places: Where activations are rounded.
        bits: Of the weights.
        in_float: The nodes that compute in float, each with the reason.
    """

    module: "GraphModule"
    places: list[Place]
    bits: int
    in_float: "Mapping[str, str]" = field(default_factory=dict)

    def ranges(self) -> Ranges:
        """Return the ranges as they are now, of all nodes that have one."""
        found: dict[str, tuple[float, float]] = {}
        for place in self.places:
            part = cast("Rounding", self.module.get_submodule(_PREFIX + place.name))
            found.update(dict.fromkeys((node.name for node in place.members), part.ends()))
        return Ranges(bits=self.bits, activations=found, in_float=dict(self.in_float))


def folded(module: "nn.Module") -> "GraphModule":
    """Return the traced copy of a module, with batch norms folded into their layers.

    Hard-swish, SiLU and attention are written as the products that runtimes compute, batch norms
    that are left as convolutions.

    Raises:
        SqueezeError: It cannot be traced.
    """
    from squeeze.quantization.qat import attention

    own = copied(module)
    attention.open_(own)
    try:
        graph = graphs.folded(own)
    except graphs.UntraceableError as error:
        raise SqueezeError(error.what, where=WHERE, hint=_HINT) from error
    for part in (products, attention, norms):
        part.write_out_(graph)
    return graph


def observed(
    graph: "GraphModule", calibration: "Split", progress: "Progress", calibrator: "CalibratorBlock"
) -> dict[str, tuple[float, float]]:
    """Return the range of every float tensor of a graph, as calibration for files finds it.

    Raises:
        SqueezeError: An activation is NaN or infinite.
    """
    gathered = Calibration(calibrator, WHERE)

    def look(node: "Node", output: "Tensor", inputs: tuple[object, ...]) -> None:
        del inputs
        if output.is_floating_point() and output.dim() > 1:
            for image in output.numpy():
                gathered.see_values(node.name, image)

    observe.run(graph, calibration, progress, "observing ranges", look)
    return gathered.ranges()


def simulation(
    graph: "GraphModule",
    ranges: "Mapping[str, tuple[float, float]]",
    bits: int,
    in_float: "Mapping[str, str] | None" = None,
) -> Simulation:
    """Round the weights and activations of a folded graph, in place.

    Args:
        graph: From ``folded``.
        ranges: Of the nodes that are to be rounded, or of all.
        bits: Of the weights.
        in_float: The nodes that compute in float, each with the reason; without it, none.
    """
    from squeeze.quantization.qat.rounding import Rounding

    in_float = in_float or {}
    tensors = {node.name for node in graph.graph.nodes if _fuses(graph, node)} | set(ranges)
    found = places(graph, tensors, in_float)
    for place in found:
        low = min(ranges[node.name][0] for node in place.nodes)
        high = max(ranges[node.name][1] for node in place.nodes)
        is_fixed = any(products.is_sigmoid(graph, node) for node in place.nodes)
        ends = products.SIGMOID_ENDS if is_fixed else (low, high)
        part = Rounding(*ends, _ceiling(graph, place))
        graph.add_submodule(_PREFIX + place.name, part.requires_grad_(not is_fixed))
        for node in place.nodes:
            readers = list(node.users)
            if node.name in in_float or node.op == "placeholder":
                readers = int8_readers(node, tensors, in_float)
            _round_for_(graph, node, readers, _PREFIX + place.name)
    for node in graphs.layers(graph):
        if node.name not in in_float:
            _round_weights_(graph, node, LARGEST[bits])
    graph.recompile()
    return Simulation(graph, found, bits, in_float)


def of_trained(model: "Model", ranges: Ranges) -> Simulation:
    """Return the simulation of the int8 files of a trained model."""
    graph = folded(model.module)
    return simulation(graph, ranges.activations, ranges.bits, ranges.in_float)


def _fuses(graph: "GraphModule", node: "Node") -> bool:
    return graphs.layer(graph, node) is not None or graphs.is_add(node)


def _ceiling(graph: "GraphModule", place: Place) -> float | None:
    """Return the value that all values of a place are clipped at, or None."""
    return _SIX if all(graphs.is_relu6(graph, node) for node in place.nodes) else None


def _round_weights_(graph: "GraphModule", node: "Node", largest: int) -> None:
    """Let a layer round its weights, in its place, so that paths stay."""
    from torch import nn

    from squeeze.quantization.qat import rounding

    part = graph.get_submodule(str(node.target))
    source = _source(graph, node)
    if isinstance(part, rounding.RoundedConv2d | rounding.RoundedLinear):  # called once more
        source = source if part.source is source else None
    else:
        part.__class__ = (
            rounding.RoundedLinear if isinstance(part, nn.Linear) else rounding.RoundedConv2d
        )
    rounded = cast("RoundedConv2d | RoundedLinear", part)
    rounded.largest = largest
    rounded.__dict__["source"] = source  # no submodule: parameters and paths stay what they are


def _source(graph: "GraphModule", node: "Node") -> "Rounding | None":
    """Return what rounds a node's input; nodes in between only move values."""
    while node.all_input_nodes:
        node = node.all_input_nodes[0]
        if str(node.target).startswith(_PREFIX):
            return cast("Rounding", graph.get_submodule(str(node.target)))
    return None


def _round_for_(graph: "GraphModule", node: "Node", readers: "list[Node]", name: str) -> None:
    """Let these users of a node read it rounded."""
    with graph.graph.inserting_after(node):
        after = graph.graph.call_module(name, (node,))
    node.replace_all_uses_with(after, delete_user_cb=lambda user: user in readers)
