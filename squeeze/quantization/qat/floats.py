"""What stays float while a model is trained for int8, and in both files made of it.

The layers that the recipe names, and operators that both runtimes are not known to round alike:
training is wasted where the files round elsewhere. In a network with layer norms that is everything
but convolutions and matrix products. ONNX Runtime has no int8 kernel for layer norm, GELU and
softmax, and a residual stream that is rounded to 8 bits loses the values of all but its largest
channels (see ``backends/onnxruntime/operators``); LiteRT's file is made the same way.
"""

from typing import TYPE_CHECKING

from squeeze.core.errors import SqueezeError
from squeeze.quantization.keep_float import layers
from squeeze.quantization.qat import places
from squeeze.quantization.recovery import graph as graphs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from torch.fx import GraphModule, Node

BETWEEN = "kept in float between float operators"
NORMED = "kept in float in a network with layer norms"
UNKNOWN = "kept in float: runtimes are not known to round it alike"
CUT = "kept in float: its inputs are clipped differently, and runtimes clip by the range"

_SIX = 6.0


def in_float(
    graph: "GraphModule", ranges: "Mapping[str, tuple[float, float]]", reasons: "Mapping[str, str]"
) -> dict[str, str]:
    """Return the nodes of a folded graph that compute in float, each with the reason.

    They include what runtimes fuse with them, and what only moves, pools or joins values between
    them, where rounding would gain nothing.

    Args:
        graph: Folded.
        ranges: Of all nodes that give float tensors.
        reasons: Paths of layers that stay float; what is inside of them does too.

    Raises:
        SqueezeError: A reason applies to no node: its layers compute nothing.
    """
    found: dict[str, str] = {}
    for node in graph.graph.nodes:
        reason = next((reasons[path] for path in layers.around(node) if path in reasons), None)
        if reason is not None and node.op not in {"placeholder", "get_attr", "output"}:
            found[node.name] = reason
    for node, reason in _by_themselves(graph, ranges):
        found.setdefault(node.name, reason)
    for first, second in _fused(graph):
        reason = found.get(first.name) or found.get(second.name)
        if reason is not None:
            found[first.name] = found[second.name] = reason
    for reason in reasons.values():
        if reason not in found.values():
            raise SqueezeError(
                f"no operation belongs to the layers {reason}",
                where="quantization-aware training",
                hint="name layers that compute something: batch norms are part of the layer before",
            )
    return found | dict.fromkeys(_between(graph, found), BETWEEN)


def _by_themselves(
    graph: "GraphModule", ranges: "Mapping[str, tuple[float, float]]"
) -> "Iterator[tuple[Node, str]]":
    """Yield the nodes that stay float whatever the recipe says."""
    known = [node for node in graph.graph.nodes if node.op.startswith("call_")]
    is_normed = any(_is_layer_norm(graph, node) for node in known)
    pairs = list(_fused(graph))
    in_products = {second for first, second in pairs if places.is_matrix_product(graph, first)}
    for node in known:
        if node.name not in ranges or places.is_matrix_product(graph, node) or node in in_products:
            continue
        if is_normed and not places.moves(graph, node):
            yield node, NORMED
        elif not places.is_known(graph, node):
            yield node, UNKNOWN
        elif places.joins(node) and _is_cut_unevenly(graph, node, ranges):
            yield node, CUT


def _is_cut_unevenly(
    graph: "GraphModule", node: "Node", ranges: "Mapping[str, tuple[float, float]]"
) -> bool:
    """Tell whether joined tensors have a range beyond that of a ReLU or ReLU6 among them.

    ONNX Runtime's quantizer drops a ReLU, assuming that the range clips as it does.
    """
    makers = [_maker(graph, source) for source in node.all_input_nodes]
    low = min(ranges[source.name][0] for source in node.all_input_nodes)
    high = max(ranges[source.name][1] for source in node.all_input_nodes)
    return (low < 0 and any(graphs.is_relu(graph, maker) for maker in makers)) or (
        high > _SIX and any(graphs.is_relu6(graph, maker) for maker in makers)
    )


def _maker(graph: "GraphModule", node: "Node") -> "Node":
    """Return the node whose values this one only moves, or the node itself."""
    while places.moves(graph, node) and node.all_input_nodes:
        node = node.all_input_nodes[0]
    return node


def _is_layer_norm(graph: "GraphModule", node: "Node") -> bool:
    from torch import nn

    functions = {nn.functional.layer_norm}
    return node.target in functions or isinstance(graphs.submodule(graph, node), nn.LayerNorm)


def _fused(graph: "GraphModule") -> "Iterator[tuple[Node, Node]]":
    """Yield the nodes that runtimes compute as one: layers and sums with their ReLU."""
    for node in graph.graph.nodes:
        if node.op != "output" and not graphs.is_rounded(graph, node):
            yield node, next(iter(node.users))


def _between(graph: "GraphModule", found: "Collection[str]") -> set[str]:
    """Return the nodes that only pass values through, from float nodes to float nodes."""
    nodes = {node for node in graph.graph.nodes if found and places.passes_through(graph, node)}

    def is_float(node: "Node") -> bool:
        return node in nodes or node.name in found or node.op in {"placeholder", "output"}

    while True:
        left = {node for node in nodes if all(map(is_float, (*node.users, *node.all_input_nodes)))}
        if left == nodes:
            return {node.name for node in nodes} - set(found)
        nodes = left
