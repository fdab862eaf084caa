"""The operations of a torch module: the layer each belongs to, its inputs and its output."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core import patterns as patterns_
from squeeze.core.errors import SqueezeError, cause_of
from squeeze.quantization import graph_run
from squeeze.quantization.keep_float.fingerprint import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import nn
    from torch.fx import GraphModule, Node


@dataclass(frozen=True)
class Operation:
    """One operation of the module's graph.

    Attributes:
        name: The graph's own, unique.
        layer: Path of the innermost submodule that it belongs to; empty for the module itself.
        layers: All of them, outermost first.
        kind: What it does, for messages: a class or a function.
        inputs: The operations whose outputs it reads.
        has_weights: Whether it reads parameters or buffers too.
        fingerprint: Of its output; None for what is no float tensor.
    """

    name: str
    layer: str
    layers: tuple[str, ...]
    kind: str
    inputs: tuple[str, ...]
    has_weights: bool
    fingerprint: Fingerprint | None


def matching(module: "nn.Module", patterns: "Sequence[str]", *, where: str) -> dict[str, str]:
    """Return the path of every submodule that a pattern names, with the pattern.

    What is inside of a named submodule belongs to it and is not returned.

    Args:
        module: As the user built it.
        patterns: See ``core.patterns``.
        where: The key that the patterns stand at.

    Raises:
        InputError: A pattern names no submodule.
    """
    parts = patterns_.layers_of(module)
    found: dict[str, str] = {}
    for pattern in patterns:
        for hit in patterns_.matching(parts, pattern, where=where):
            found.setdefault(hit, pattern)
    return found


def operations(module: "nn.Module", images: "NDArray[np.float32]") -> list[Operation]:
    """Run a module once and return its operations in order.

    A module that was traced before, as accuracy recovery leaves it, is read as it is; any other is
    traced by ``torch.export``, as the exporters do.

    Args:
        module: Float.
        images: One batch ``(N, C, H, W)``.

    Raises:
        SqueezeError: It cannot be traced.
    """
    import torch
    from torch.fx import GraphModule

    example = torch.from_numpy(np.ascontiguousarray(images))
    graph = module.eval()
    if not isinstance(graph, GraphModule):
        try:
            graph = torch.export.export(graph, (example,)).module(check_guards=False)
        except Exception as error:
            raise SqueezeError(
                f"torch.export cannot trace the model: {cause_of(error)}",
                hint="keep_float and mixed_precision need a model that it can trace",
            ) from error
    found: list[Operation] = []

    def look(node: "Node", output: object, _: tuple[object, ...]) -> None:
        if node.op != "get_attr":
            found.append(_operation(graph, node, output))

    graph_run.runner(graph, look)(example)
    return found


def around(node: "Node") -> tuple[str, ...]:
    """Return the paths of the submodules that a traced node belongs to, outermost first."""
    layers = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path]
    if node.op == "call_module" and str(node.target) not in layers:
        layers.append(str(node.target))
    return tuple(layers)


def _operation(graph: "GraphModule", node: "Node", output: object) -> Operation:
    import torch

    layers = around(node)
    has_weights = any(source.op == "get_attr" for source in node.all_input_nodes)
    if node.op == "call_module":
        has_weights |= bool(graph.get_submodule(str(node.target)).state_dict())
    kind = getattr(node.target, "__name__", None) or str(node.target)
    fingerprint = None
    if isinstance(output, torch.Tensor) and output.is_floating_point():
        fingerprint = Fingerprint.of(output.numpy())
    return Operation(
        node.name,
        layers[-1] if layers else "",
        layers,
        kind,
        tuple(source.name for source in node.all_input_nodes if source.op != "get_attr"),
        has_weights,
        fingerprint,
    )
