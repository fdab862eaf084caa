"""Where the runtimes round activations to 8 bits, and which activations share a range."""

import operator
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from squeeze.core.union_find import UnionFind
from squeeze.quantization.qat import products
from squeeze.quantization.recovery import graph as graphs

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node


_GIVEN = {"placeholder", "get_attr"}
"""Nodes that compute nothing; their outputs are float."""


@dataclass(frozen=True)
class Place:
    """Activations that are rounded with one range.

    Attributes:
        nodes: After which the simulation rounds; a float node's output only for int8 readers.
        members: All nodes whose values have this range, those that only move values included.
    """

    nodes: "tuple[Node, ...]"
    members: "tuple[Node, ...]"

    @property
    def name(self) -> str:
        """The first node's name."""
        return self.nodes[0].name


def places(
    graph: "GraphModule", tensors: "set[str]", in_float: Collection[str] = ()
) -> list[Place]:
    """Return where to round, in the graph's order.

    What only moves values (reshaping, max pooling, slices) has the range of its input, average
    pooling rounds once more with it, and everything that is concatenated has one range: LiteRT
    requires all of that, and ONNX Runtime's graph is made the same way.

    Args:
        graph: Folded.
        tensors: Names of the nodes that give float tensors.
        in_float: Names of the nodes that compute in float.
    """
    one_range: UnionFind[Node] = UnionFind()
    known = [node for node in graph.graph.nodes if node.name in tensors and node.op != "output"]
    rounds: list[Node] = []
    for node in known:
        is_float = node.name in in_float
        if moves(graph, node) or (passes_through(graph, node) and not is_float):
            for source in map(_whole, node.all_input_nodes):
                if source.name in tensors:
                    one_range.join(source, node)
        if is_float or node.op in _GIVEN:
            is_rounded = any(int8_readers(node, tensors, in_float))
        else:
            is_rounded = not (moves(graph, node) or joins(node)) and graphs.is_rounded(graph, node)
        if is_rounded:
            rounds.append(node)
    return list(_grouped(known, rounds, one_range))


def int8_readers(node: "Node", tensors: "set[str]", in_float: Collection[str]) -> "list[Node]":
    """Return the users of a node that take their inputs rounded."""
    return [
        user
        for user in node.users
        if user.name not in in_float
        and user.op != "output"
        and (user.name in tensors or _whole(user) is not user)
    ]


def is_known(graph: "GraphModule", node: "Node") -> bool:
    """Tell whether it is known how both runtimes round the node's output."""
    return passes_through(graph, node) or _computes(graph, node)


def passes_through(graph: "GraphModule", node: "Node") -> bool:
    """Tell whether the node only moves, pools, splits or joins values."""
    splits = _whole(node) is not node
    return moves(graph, node) or splits or _pools(graph, node) or joins(node)


def _grouped(
    known: "list[Node]", rounds: "list[Node]", one_range: "UnionFind[Node]"
) -> Iterator[Place]:
    root = one_range.root
    for first in rounds:
        nodes = tuple(node for node in rounds if root(node) is root(first))
        if nodes[0] is first:
            yield Place(nodes, tuple(node for node in known if root(node) is root(first)))


def _whole(node: "Node") -> "Node":
    """Return the tensor that a node splits into parts; of other nodes, the node itself."""
    import torch

    splits = {torch.chunk, torch.split, torch.unbind, "chunk", "split", "unbind"}
    return node.all_input_nodes[0] if node.target in splits else node


def moves(graph: "GraphModule", node: "Node") -> bool:
    """Tell whether the node's values are some of its input's (or zeros)."""
    import torch
    from torch import nn
    from torch.nn import functional

    from squeeze.models.adapters.layers.select import Select

    modules = (nn.MaxPool2d, nn.Flatten, nn.Identity, nn.Dropout, nn.ChannelShuffle, Select)
    functions = {torch.flatten, functional.max_pool2d, operator.getitem, torch.chunk, torch.split}
    functions |= {torch.reshape, torch.transpose, torch.permute, torch.narrow}
    functions |= {torch.index_select, torch.squeeze, torch.unsqueeze, torch.unflatten}
    methods = {"view", "reshape", "flatten", "transpose", "permute", "contiguous", "chunk", "split"}
    methods |= {"narrow", "index_select", "squeeze", "unsqueeze", "unflatten"}
    if node.op == "call_function" and node.target is functional.interpolate:
        return bool(node.kwargs.get("mode", "nearest") == "nearest")  # as pyramids of detectors do
    return (
        isinstance(graphs.submodule(graph, node), modules)
        or (node.op == "call_function" and node.target in functions)
        or (node.op == "call_method" and node.target in methods)
    )


def _pools(graph: "GraphModule", node: "Node") -> bool:
    from torch import nn

    return isinstance(graphs.submodule(graph, node), nn.AvgPool2d) or (
        node.op == "call_function" and node.target is nn.functional.avg_pool2d
    )


def joins(node: "Node") -> bool:
    """Tell whether the node joins several tensors."""
    import torch

    return node.op == "call_function" and node.target in {torch.cat, torch.concat}


def is_matrix_product(graph: "GraphModule", node: "Node") -> bool:
    """Tell whether the node is a convolution, a linear layer or a product of two activations."""
    return graphs.layer(graph, node) is not None or products.is_matrix_product(node)


def _computes(graph: "GraphModule", node: "Node") -> bool:
    """Tell whether the node computes new values, which runtimes round with a range of their own."""
    from torch import nn
    from torch.nn import functional

    if any(source.op == "get_attr" for source in node.all_input_nodes):
        return False
    return (
        node.op in _GIVEN
        or is_matrix_product(graph, node)
        or graphs.is_add(node)
        or graphs.is_relu(graph, node)
        or products.is_product(node)
        or products.is_sigmoid(graph, node)
        or products.is_hard_sigmoid(graph, node)
        or isinstance(graphs.submodule(graph, node), nn.AdaptiveAvgPool2d)
        or (node.op == "call_function" and node.target is functional.adaptive_avg_pool2d)
        or (node.op == "call_method" and node.target == "mean")
    )
