"""Layers that recovery leaves as they are, and why: they are reported beside those it rounds.

It handles convolutions of images and linear layers that are exactly ``Conv2d`` and ``Linear``: a
subclass may do more in its forward than its weights show.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from squeeze.quantization.recovery import graph as graphs

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import GraphModule, Node

_LAYERS = {
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "linear", "bilinear", "multi_head_attention_forward",
}  # fmt: skip
_PRODUCTS = {"matmul", "mm", "bmm", "addmm", "baddbmm", "einsum"}
_MATRIX = 2
_SHOWN = 3


def layers(graph: "GraphModule", module: "nn.Module") -> dict[str, str]:
    """Return the layers with weights that recovery does not handle, with the reason.

    Args:
        graph: As ``graph.folded`` makes it.
        module: The module it was made from, whose classes show what was traced through.
    """
    known = set(graphs.layers(graph))
    found: dict[str, str] = {}
    for node in graph.graph.nodes:
        if node in known:
            continue
        if node.op == "call_module":
            _add_module_(found, graph, node)
        elif node.op in {"call_function", "call_method"}:
            _add_function_(found, module, node)
    return found


def note(reasons: Iterable[str]) -> str:
    """Return how many there are and why, to be appended to a count; empty where there are none."""
    counted = Counter(reasons)
    if not counted:
        return ""
    parts = [f"{count} {reason}" for reason, count in counted.most_common()]
    rest = f"; {len(parts) - _SHOWN} other reasons" if len(parts) > _SHOWN else ""
    return f"; {counted.total()} passed over ({'; '.join(parts[:_SHOWN])}{rest})"


def _add_module_(found: dict[str, str], graph: "GraphModule", node: "Node") -> None:
    part, path = graph.get_submodule(str(node.target)), str(node.target)
    if graphs.layer(graph, node) is not None:
        found[path] = "with a batch norm behind it that could not be folded"
    elif any(value.dim() >= _MATRIX for value in part.parameters()):
        found[path] = _class(part)


def _add_function_(found: dict[str, str], module: "nn.Module", node: "Node") -> None:
    name = str(getattr(node.target, "__name__", node.target))
    stored = [each for each in node.all_input_nodes if each.op == "get_attr"]
    if name not in _LAYERS and not (name in _PRODUCTS and stored):
        return
    path = str(stored[0].target).rpartition(".")[0] if stored else ""
    owner = _submodules(module).get(path) if path else None
    if owner is not None:
        found[path] = _class(owner)
    elif stored:
        found[str(stored[0].target)] = f"{name} with weights that belong to the model itself"
    else:
        found[node.name] = f"{name} with weights that are computed"


def _submodules(module: "nn.Module") -> "Mapping[str, nn.Module]":
    return dict(module.named_modules())


def _class(part: "nn.Module") -> str:
    from torch import nn

    name = type(part).__name__
    for base in (nn.Conv2d, nn.Linear):
        if isinstance(part, base) and type(part) is not base:
            return f"{name}, a subclass of {base.__name__}"
    return f"{name}, neither Conv2d nor Linear"
