"""What stays float while a model is trained for int8, and in both files made of it."""

from typing import TYPE_CHECKING

from squeeze.core.errors import SqueezeError
from squeeze.methods.quantize.mixed import layers
from squeeze.methods.quantize.qat import places
from squeeze.methods.quantize.recovery import graph as graphs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from torch.fx import GraphModule, Node

BETWEEN = "kept in float between layers that are"


def in_float(graph: "GraphModule", reasons: "Mapping[str, str]") -> dict[str, str]:
    """Return the nodes of a folded graph that compute in float, each with the reason.

    These are the operations of the named layers, what runtimes fuse with them, and what only moves,
    pools or joins values between them, which would be rounded for nothing.

    Args:
        graph: Folded.
        reasons: Paths of layers that stay float; what is inside of them does too.

    Raises:
        SqueezeError: A reason is none of any node: its layers compute nothing.
    """
    found: dict[str, str] = {}
    for node in graph.graph.nodes:
        reason = next((reasons[path] for path in layers.around(node) if path in reasons), None)
        if reason is not None and node.op not in {"placeholder", "get_attr", "output"}:
            found[node.name] = reason
    for first, second in _fused(graph):
        reason = found.get(first.name) or found.get(second.name)
        if reason is not None:
            found[first.name] = found[second.name] = reason
    for reason in reasons.values():
        if reason not in found.values():
            raise SqueezeError(
                f"no operation is {reason}",
                where="quantization-aware training",
                hint="name layers that compute something: batch norms are part of the layer before",
            )
    return found | dict.fromkeys(_between(graph, found), BETWEEN)


def _fused(graph: "GraphModule") -> "Iterator[tuple[Node, Node]]":
    """Yield the nodes that runtimes compute as one: layers and sums with their ReLU."""
    for node in graph.graph.nodes:
        if node.op != "output" and not graphs.is_rounded(graph, node):
            yield node, next(iter(node.users))


def _between(graph: "GraphModule", found: "Collection[str]") -> set[str]:
    """Return the nodes that only hand values on, from what is float to what is float."""
    nodes = {node for node in graph.graph.nodes if found and places.hands_on_values(graph, node)}

    def is_float(node: "Node") -> bool:
        return node in nodes or node.name in found or node.op in {"placeholder", "output"}

    while True:
        left = {node for node in nodes if all(map(is_float, (*node.users, *node.all_input_nodes)))}
        if left == nodes:
            return {node.name for node in nodes} - set(found)
        nodes = left
