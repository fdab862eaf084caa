"""Activations that runtimes compute as products: hard-swish and SiLU.

Neither runtime rounds only once there. ONNX Runtime and LiteRT compute ``x * sigmoid(x)`` and
``x * hard_sigmoid(x)`` with an int8 gate between two int8 operators, so the gate is rounded too and
has a range of its own. Source of the functions: Howard et al., Searching for MobileNetV3
(https://arxiv.org/abs/1905.02244), section 5.2.
"""

import operator
from typing import TYPE_CHECKING

from squeeze.quantization.recovery import graph as graphs

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.fx import GraphModule, Node

SIGMOID_ENDS = (0.0, 255 / 256)
"""The range of a sigmoid's int8 values: LiteRT takes no other, so it is not learned."""


def write_out_(graph: "GraphModule") -> None:
    """Write every hard-swish and SiLU as a gate and a product, in place."""
    for node in list(graph.graph.nodes):
        gate = _gate(graph, node)
        if gate is None:
            continue
        source = node.args[0]
        with graph.graph.inserting_before(node):
            factor = graph.graph.call_function(gate, (source,))
            product = graph.graph.call_function(operator.mul, (source, factor))
        for made in (factor, product):
            made.meta = dict(node.meta)  # whose layer it is
        node.replace_all_uses_with(product)
        graph.graph.erase_node(node)
    graph.recompile()


def is_product(node: "Node") -> bool:
    """Tell whether the node multiplies two activations element by element."""
    import torch
    from torch.fx import Node

    targets = {operator.mul, operator.imul, torch.mul}
    called = node.op == "call_function" and node.target in targets
    return (called or (node.op == "call_method" and node.target in {"mul", "mul_"})) and all(
        isinstance(value, Node) and value.op != "get_attr" for value in node.args[:2]
    )


def is_matrix_product(node: "Node") -> bool:
    """Tell whether the node is a matrix product of two activations."""
    import torch
    from torch.fx import Node

    targets = {torch.matmul, torch.bmm, operator.matmul}
    called = node.op == "call_function" and node.target in targets
    return (called or (node.op == "call_method" and node.target in {"matmul", "bmm"})) and all(
        isinstance(value, Node) and value.op != "get_attr" for value in node.args[:2]
    )


def is_sigmoid(graph: "GraphModule", node: "Node") -> bool:
    """Tell whether the node is a sigmoid."""
    import torch
    from torch import nn

    functions = {torch.sigmoid, nn.functional.sigmoid}
    return (
        isinstance(graphs.submodule(graph, node), nn.Sigmoid)
        or (node.op == "call_function" and node.target in functions)
        or (node.op == "call_method" and node.target in {"sigmoid", "sigmoid_"})
    )


def is_hard_sigmoid(graph: "GraphModule", node: "Node") -> bool:
    """Tell whether the node is a hard sigmoid, ``relu6(x + 3) / 6``."""
    from torch import nn

    return isinstance(graphs.submodule(graph, node), nn.Hardsigmoid) or (
        node.op == "call_function" and node.target is nn.functional.hardsigmoid
    )


def _gate(graph: "GraphModule", node: "Node") -> "Callable[..., object] | None":
    import torch
    from torch import nn
    from torch.nn import functional

    part = graphs.submodule(graph, node)
    target = node.target if node.op == "call_function" else None
    if isinstance(part, nn.SiLU) or target is functional.silu:
        return torch.sigmoid
    if isinstance(part, nn.Hardswish) or target is functional.hardswish:
        return functional.hardsigmoid
    return None
