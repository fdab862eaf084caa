"""Put trained weights back into the model's own structure, so that its factory and bundle fit."""

from typing import TYPE_CHECKING, cast

from squeeze.models import written_sizes
from squeeze.models.copying import copied
from squeeze.quantization.qat import norms as scales
from squeeze.quantization.recovery import graph as graphs

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.fx import GraphModule, Node

    from squeeze.quantization.qat.norms import BatchNorm


def unfolded(module: "nn.Module", graph: "GraphModule") -> "nn.Module":
    """Return a copy of the float module that computes what a trained, folded graph computes.

    Weights come out rounded where the graph rounds them. A batch norm that was folded stays and
    adds the bias: its mean is the negative bias, its variance 1, so that exporters fold it again by
    a factor of 1. One that became a convolution scales and adds again. Layer norms whose weights
    were folded into the layers behind them multiply by 1.

    Args:
        module: What the graph was traced from.
        graph: Trained.
    """
    import torch
    from torch import nn

    own = copied(module).eval()
    norms = _folded_norms(module, graph)
    _copy_same_(own, graph)
    with torch.no_grad():
        for path, part in graph.named_modules():
            if isinstance(part, nn.LayerNorm) and not part.elementwise_affine:
                _set_plain_(cast("nn.LayerNorm", own.get_submodule(path)))
            if isinstance(part, nn.Conv2d | nn.Linear):
                norm = own.get_submodule(norms[path]) if path in norms else None
                _set_layer_(_owner(own, path), part, cast("BatchNorm | None", norm))
    return own


def _set_layer_(layer: "nn.Module", part: "graphs.Layer", norm: "BatchNorm | None") -> None:
    """Let a layer of the model, with its batch norm, compute what a layer of the graph computes."""
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm

    from squeeze.quantization.qat.rounding import rounded

    largest = getattr(part, "largest", None)  # of layers that round
    weight = part.weight if largest is None else rounded(part.weight, largest)
    if isinstance(layer, _BatchNorm):
        scales.take_back_(cast("BatchNorm", layer), cast("nn.Conv2d", part))
        return
    own_bias: Tensor | None
    if isinstance(layer, nn.MultiheadAttention):
        layer.in_proj_weight.copy_(weight)
        own_bias = layer.in_proj_bias
    else:
        layer = cast("graphs.Layer", layer)
        layer.weight.copy_(weight)
        own_bias = layer.bias
    if norm is not None and part.bias is not None:
        _pass_bias_(own_bias, norm, part.bias)
    elif own_bias is not None and part.bias is not None:
        own_bias.copy_(part.bias)


def _copy_same_(own: "nn.Module", graph: "GraphModule") -> None:
    """Copy what has the same path and shape in the graph: tokens, positions, norms."""
    known, trained = own.state_dict(), graph.state_dict()
    same = {
        path: trained[path]
        for path, tensor in known.items()
        if path in trained and trained[path].shape == tensor.shape
    }
    own.load_state_dict(known | same)


def _set_plain_(norm: "nn.LayerNorm") -> None:
    if norm.elementwise_affine:
        norm.weight.fill_(1)
        if norm.bias is not None:
            norm.bias.zero_()


def _owner(module: "nn.Module", path: str) -> "nn.Module":
    """Return the layer of this path, or the one around it where the model has none of this path.

    Those are batch norms that also activate, and the joint layer of attention.
    """
    own: dict[str, nn.Module] = dict(module.named_modules())
    return own[path if path in own else path.rpartition(".")[0]]


def _pass_bias_(layer_bias: "Tensor | None", norm: "BatchNorm", bias: "Tensor") -> None:
    """Let a batch norm add the bias, and the layer before it none."""
    if layer_bias is not None:
        layer_bias.zero_()
    norm.running_mean.copy_(-bias)
    norm.running_var.fill_(1 - norm.eps)
    if norm.affine:
        norm.weight.fill_(1)
        norm.bias.zero_()


def _folded_norms(module: "nn.Module", graph: "GraphModule") -> dict[str, str]:
    """Return the batch norm of every layer that has swallowed one, by paths."""
    from torch.nn.modules.batchnorm import _BatchNorm

    from squeeze.quantization.qat import attention

    separate = copied(module).eval()
    attention.open_(separate)
    graphs.separate_activations_(separate)
    plain = written_sizes.traced(separate)
    left = {str(node.target) for node in graph.graph.nodes if node.op == "call_module"}
    own = dict(module.named_modules())
    found = {}
    for node in plain.graph.nodes:
        path = str(node.target)
        if isinstance(graphs.submodule(plain, node), _BatchNorm) and path not in left:
            # one that also activated was split in two
            source = cast("Node", node.args[0])
            found[str(source.target)] = path if path in own else path.rpartition(".")[0]
    return found
