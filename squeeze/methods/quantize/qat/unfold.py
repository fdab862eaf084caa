"""Trained weights back into the model's own structure, so that any factory and bundle fits."""

import copy
from typing import TYPE_CHECKING, Any

from squeeze.methods.quantize.recovery import graph as graphs

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import GraphModule


def unfolded(module: "nn.Module", graph: "GraphModule") -> "nn.Module":
    """Return a copy of the float module that computes what a trained, folded graph computes.

    Weights come out rounded where the graph rounds them. A batch norm that was folded stays, as a
    sum with the bias: its mean is the negative bias, its variance 1. Exporters fold it again, by a
    factor of 1.

    Args:
        module: What the graph was traced from.
        graph: Trained.
    """
    import torch

    from squeeze.methods.quantize.qat.rounding import rounded

    own: Any = copy.deepcopy(module).eval()
    norms = _folded_norms(module, graph)
    with torch.no_grad():
        for path, part in graph.named_modules():
            if not isinstance(part, torch.nn.Conv2d | torch.nn.Linear):
                continue
            layer = own.get_submodule(path)
            largest = getattr(part, "largest", None)  # of layers that round
            layer.weight.copy_(part.weight if largest is None else rounded(part.weight, largest))
            if path in norms:
                _pass_bias_(layer, own.get_submodule(norms[path]), part.bias)
            elif part.bias is not None:
                layer.bias.copy_(part.bias)
    return own  # type: ignore[no-any-return]


def _pass_bias_(layer: Any, norm: Any, bias: Any) -> None:  # noqa: ANN401
    if layer.bias is not None:
        layer.bias.zero_()
    norm.running_mean.copy_(-bias)
    norm.running_var.fill_(1 - norm.eps)
    if norm.affine:
        norm.weight.fill_(1)
        norm.bias.zero_()


def _folded_norms(module: "nn.Module", graph: "GraphModule") -> dict[str, str]:
    """Return the batch norm of every layer that has swallowed one, by paths."""
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    separate = copy.deepcopy(module).eval()
    graphs.separate_activations_(separate)
    plain: Any = torch.fx.symbolic_trace(separate)
    left = {str(node.target) for node in graph.graph.nodes if node.op == "call_module"}
    own = dict(module.named_modules())
    found = {}
    for node in plain.graph.nodes:
        path = str(node.target)
        if isinstance(graphs.submodule(plain, node), _BatchNorm) and path not in left:
            # one that also activated was split in two
            found[str(node.args[0].target)] = path if path in own else path.rpartition(".")[0]
    return found
