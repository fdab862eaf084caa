"""Norms as int8 files compute them: batch norms as convolutions, layer norms without weights.

In DenseNet a batch norm follows a concatenation and activates. Neither runtime has an int8 kernel
for it: ONNX Runtime scales in float, LiteRT multiplies and adds in int8 with one step for the
scales of all channels. A depthwise convolution of size 1 computes the same, has a step of its own
for every weight, so that rounding changes none, and runs in both runtimes' int8 kernels.

The weights of a layer norm are folded into the linear layers behind it. LiteRT's converter does so
by itself, and weights that it changes after training are no longer on their grid.
"""

from typing import TYPE_CHECKING, Protocol, cast

from squeeze.quantization.recovery import graph as graphs

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.fx import GraphModule, Node


class BatchNorm(Protocol):
    """A batch norm with statistics: torch types them as what may be missing."""

    weight: "Tensor"
    bias: "Tensor"
    running_mean: "Tensor"
    running_var: "Tensor"
    eps: float
    affine: bool
    num_features: int


def write_out_(graph: "GraphModule") -> None:
    """Write out the norms of a folded graph, in place.

    Batch norms of ``(N, C, H, W)`` that are left become convolutions. Layer norms lose their
    weights where all that reads them are linear layers.
    """
    from torch import nn

    for node in graph.graph.nodes:
        norm = graphs.submodule(graph, node)
        parent, _, name = str(node.target).rpartition(".")
        if isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None:
            convolution = _convolution(cast("BatchNorm", norm))
            setattr(graph.get_submodule(parent), name, convolution)
        elif isinstance(norm, nn.LayerNorm) and norm.elementwise_affine:
            readers = _linear_readers(graph, node)
            if readers:
                _move_weights_(norm, readers)
                plain = nn.LayerNorm(norm.normalized_shape, norm.eps, elementwise_affine=False)
                setattr(graph.get_submodule(parent), name, plain.eval())
    graph.recompile()


def take_back_(norm: BatchNorm, convolution: "nn.Conv2d") -> None:
    """Let a batch norm compute what a convolution of one weight per channel computes.

    One without weights of its own does so by its statistics, which cannot express a negative scale:
    training would have to move it across 0.
    """
    import torch

    scale, bias = convolution.weight.flatten(), cast("Tensor", convolution.bias)
    if norm.affine:
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
        norm.weight.copy_(scale)
        norm.bias.copy_(bias)
    else:
        scale = scale.clamp(min=torch.finfo(scale.dtype).eps)
        norm.running_var.copy_(scale**-2 - norm.eps)
        norm.running_mean.copy_(-bias / scale)


def _convolution(norm: BatchNorm) -> "nn.Conv2d":
    import torch
    from torch import nn

    count = norm.num_features
    made = nn.Conv2d(count, count, 1, groups=count).eval()
    with torch.no_grad():
        scale = (norm.running_var + norm.eps).rsqrt() * (norm.weight if norm.affine else 1.0)
        added = (norm.bias if norm.affine else 0.0) - norm.running_mean * scale
    made.weight = nn.Parameter(scale.view(-1, 1, 1, 1))
    made.bias = nn.Parameter(added)
    return made


def _linear_readers(graph: "GraphModule", node: "Node") -> "list[nn.Linear]":
    """Return the linear layers with biases that read a node, or none where anything else does."""
    from torch import nn

    often = graphs.shared(graph)
    found = [graphs.layer(graph, user) for user in node.users]
    fitting = [part for part in found if isinstance(part, nn.Linear) and part.bias is not None]
    is_free = not any(str(each.target) in often for each in (node, *node.users))
    return fitting if is_free and len(fitting) == len(found) else []


def _move_weights_(norm: "nn.LayerNorm", readers: "list[nn.Linear]") -> None:
    import torch

    with torch.no_grad():
        for layer in readers:
            if norm.bias is not None:
                layer.bias.add_(layer.weight @ norm.bias)
            layer.weight.mul_(norm.weight)
