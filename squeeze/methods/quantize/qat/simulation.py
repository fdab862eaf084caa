"""The float model as the int8 files will compute it: rounded weights and activations."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from squeeze.core.errors import SqueezeError
from squeeze.methods.quantize.calibration import Calibration
from squeeze.methods.quantize.qat import products
from squeeze.methods.quantize.qat.places import HINT, Place, int8_readers, places
from squeeze.methods.quantize.recovery import graph as graphs
from squeeze.methods.quantize.recovery import observe
from squeeze.methods.quantize.recovery.recover import LARGEST
from squeeze.recipe.schema import Block
from squeeze.store import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn
    from torch.fx import GraphModule, Node

    from squeeze.core.types import Progress
    from squeeze.recipe.schema import CalibratorBlock
    from squeeze.sources.data import Split
    from squeeze.sources.models import Model

_FILE = "ranges.json"
WHERE = "quantization-aware training"
_PREFIX = "rounding_"


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
    return Ranges.model_validate_json(path.read_bytes()) if path.is_file() else None


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
            part: Any = self.module.get_submodule(_PREFIX + place.name)
            found.update(dict.fromkeys((node.name for node in place.members), part.ends()))
        return Ranges(bits=self.bits, activations=found, in_float=dict(self.in_float))


def folded(module: "nn.Module") -> "GraphModule":
    """Return the traced copy of a module, with batch norms folded into their layers.

    Hard-swish and SiLU are written as the products that runtimes compute.

    Raises:
        SqueezeError: It cannot be traced.
    """
    try:
        graph = graphs.folded(module)
    except graphs.UntraceableError as error:
        raise SqueezeError(f"the model cannot be: {error}", where=WHERE, hint=HINT) from error
    products.write_out_(graph)
    return graph


def observed(
    graph: "GraphModule", calibration: "Split", progress: "Progress", calibrator: "CalibratorBlock"
) -> dict[str, tuple[float, float]]:
    """Return the range of every float tensor of a graph, as calibration for files finds it.

    Raises:
        SqueezeError: An activation is NaN or infinite.
    """
    gathered = Calibration(calibrator, WHERE)

    def look(node: "Node", output: "Tensor", inputs: tuple[Any, ...]) -> None:
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

    Raises:
        SqueezeError: A node does something of which it is not known how runtimes round it.
    """
    from squeeze.methods.quantize.qat.rounding import Rounding

    in_float = in_float or {}
    tensors = {node.name for node in graph.graph.nodes if _fuses(graph, node)} | set(ranges)
    found = places(graph, tensors, in_float)
    for node in graphs.layers(graph):
        if node.name not in in_float:
            _round_weights_(graphs.layer(graph, node), LARGEST[bits])
    for place in found:
        low = min(ranges[node.name][0] for node in place.nodes)
        high = max(ranges[node.name][1] for node in place.nodes)
        is_fixed = any(products.is_sigmoid(graph, node) for node in place.nodes)
        part = Rounding(*(products.SIGMOID_ENDS if is_fixed else (low, high)))
        graph.add_submodule(_PREFIX + place.name, part.requires_grad_(not is_fixed))
        for node in place.nodes:
            readers = list(node.users)
            if node.name in in_float or node.op == "placeholder":
                readers = int8_readers(node, tensors, in_float)
            _round_for_(graph, node, readers, _PREFIX + place.name)
    graph.recompile()
    return Simulation(graph, found, bits, in_float)


def of_trained(model: "Model", ranges: Ranges) -> Simulation:
    """Return the simulation of the int8 files of a trained model."""
    graph = folded(model.module)
    return simulation(graph, ranges.activations, ranges.bits, ranges.in_float)


def _fuses(graph: "GraphModule", node: "Node") -> bool:
    return graphs.layer(graph, node) is not None or graphs.is_add(node)


def _round_weights_(part: Any, largest: int) -> None:  # noqa: ANN401
    """Let a layer round its weights; it stays where it is in the model, so paths stay."""
    from torch import nn

    from squeeze.methods.quantize.qat.rounding import RoundedConv2d, RoundedLinear

    part.__class__ = RoundedLinear if isinstance(part, nn.Linear) else RoundedConv2d
    part.largest = largest


def _round_for_(graph: "GraphModule", node: "Node", readers: "list[Node]", name: str) -> None:
    """Let these users of a node read it rounded."""
    with graph.graph.inserting_after(node):
        after = graph.graph.call_module(name, (node,))
    node.replace_all_uses_with(after, delete_user_cb=lambda user: user in readers)
