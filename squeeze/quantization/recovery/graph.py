"""The batch-norm-folded torch graph that recovery works on, and what its nodes do."""

import operator
from collections import Counter
from typing import TYPE_CHECKING, cast

from squeeze.core.errors import SqueezeError
from squeeze.models import written_sizes
from squeeze.models.copying import copied

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import GraphModule, Node

    Layer = nn.Conv2d | nn.Linear


class UntraceableError(SqueezeError):
    """The module cannot be traced or rewritten, and is quantized as it is."""


def folded(module: "nn.Module", *, shared: bool = False) -> "GraphModule":
    """Return a traced copy in eval mode, without dropout, batch norms folded into their layers.

    Args:
        module: Left as it is.
        shared: Whether layers may be called more than once, as heads of detectors are for every
            level. Those beside a batch norm may not: folding would change them twice.

    Raises:
        UntraceableError: torch.fx cannot trace it, or a layer is called more often than it may.
    """
    from torch.fx.experimental import optimization

    try:
        separate = copied(module).eval()
        separate_activations_(separate)
        plain = written_sizes.traced(separate)
        _remove_dropout_(plain)
        _remove_stochastic_depth_(plain)
        _refuse_shared(plain, layers=not shared)
        graph = cast("GraphModule", optimization.fuse(plain, no_trace=True))
    except SqueezeError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise UntraceableError(
            f"torch.fx cannot trace the model ({type(error).__name__}: {reason})"
        ) from error
    for part in graph.modules():
        if hasattr(part, "inplace"):
            part.inplace = False  # type: ignore[assignment]  # no submodule
    return graph


def separate_activations_(module: "nn.Module") -> None:
    """Split batch norms that also activate, as timm's do, so that torch.fx can fold the first half.

    Source: ``timm.layers.BatchNormAct2d``, whose forward is batch norm, ``drop``, ``act``.
    """
    from torch import nn

    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d) and hasattr(child, "act") and hasattr(child, "drop"):
            norm = nn.BatchNorm2d(
                child.num_features,
                eps=child.eps,
                affine=child.affine,
                track_running_stats=child.track_running_stats,
            )
            norm.load_state_dict(child.state_dict(), strict=False)
            after = child.get_submodule("drop"), child.get_submodule("act")
            setattr(module, name, nn.Sequential(norm, *after).eval())
        else:
            separate_activations_(child)


def _remove_dropout_(graph: "GraphModule") -> None:
    """Remove layers that drop values in training and do nothing else."""
    from torch import nn

    for node in list(graph.graph.nodes):
        if isinstance(submodule(graph, node), nn.Dropout):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.recompile()


def _remove_stochastic_depth_(graph: "GraphModule") -> None:
    """Remove torchvision's calls that drop whole branches in training and do nothing else."""
    for node in list(graph.graph.nodes):
        name = getattr(node.target, "__name__", "")
        if node.op == "call_function" and name == "stochastic_depth":
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.recompile()


def shared(graph: "GraphModule") -> set[str]:
    """Return the paths of modules with weights that are called in several places."""
    calls = Counter(str(node.target) for node in graph.graph.nodes if node.op == "call_module")
    return {
        target
        for target, count in calls.items()
        if count > 1 and any(True for _ in graph.get_submodule(target).parameters())
    }


def _refuse_shared(graph: "GraphModule", *, layers: bool) -> None:
    often = shared(graph)
    for node in graph.graph.nodes:
        if node.op != "call_module" or str(node.target) not in often:
            continue
        if layers or any(_is_batch_norm(graph, each) for each in (node, *node.users)):
            raise UntraceableError(f"the layer {node.target} is called more than once")


def layer(graph: "GraphModule", node: "Node") -> "Layer | None":
    """Return the node's convolution or linear layer, or None; subclasses may compute otherwise."""
    from torch import nn

    found = submodule(graph, node)
    return cast("Layer", found) if type(found) in {nn.Conv2d, nn.Linear} else None


def submodule(graph: "GraphModule", node: "Node") -> "nn.Module | None":
    """Return the module that the node calls, or None."""
    return graph.get_submodule(str(node.target)) if node.op == "call_module" else None


def layers(graph: "GraphModule") -> "list[Node]":
    """Return the nodes of all convolutions and linear layers whose weights a runtime keeps.

    A batch norm that could not be folded here is folded by the runtime, into other weights.
    """
    return [
        node
        for node in graph.graph.nodes
        if layer(graph, node) is not None
        and not any(_is_batch_norm(graph, user) for user in node.users)
    ]


def is_dense(part: "nn.Module") -> bool:
    """Tell whether every output channel sees every input channel."""
    return bool(getattr(part, "groups", 1) == 1)


def is_depthwise(part: "nn.Module") -> bool:
    """Tell whether every output channel sees the input channel of its own index, alone."""
    from torch import nn

    return (
        isinstance(part, nn.Conv2d)
        and not is_dense(part)
        and part.groups == part.in_channels == part.out_channels
    )


def is_add(node: "Node") -> bool:
    """Tell whether the node adds two activations."""
    import torch
    from torch.fx import Node

    return (
        node.op == "call_function"
        and node.target in {operator.add, operator.iadd, torch.add}
        and all(isinstance(value, Node) for value in node.args[:2])
        and not node.kwargs
    )


def is_relu(graph: "GraphModule", node: "Node") -> bool:
    """Tell whether the node is a ReLU or ReLU6."""
    import torch
    from torch import nn

    functions = {torch.relu, nn.functional.relu}
    return (
        is_relu6(graph, node)
        or isinstance(submodule(graph, node), nn.ReLU)
        or (node.op == "call_function" and node.target in functions)
        or (node.op == "call_method" and node.target in {"relu", "relu_"})
    )


def is_relu6(graph: "GraphModule", node: "Node") -> bool:
    """Tell whether the node is a ReLU6."""
    from torch import nn

    return isinstance(submodule(graph, node), nn.ReLU6) or (
        node.op == "call_function" and node.target is nn.functional.relu6
    )


def keeps_channels(graph: "GraphModule", node: "Node") -> bool:
    """Tell whether scaling a channel of the input scales that channel of the output alike."""
    import torch
    from torch import nn

    modules = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Identity, nn.Flatten)
    functional = nn.functional
    functions = {
        torch.flatten,
        functional.adaptive_avg_pool2d,
        functional.avg_pool2d,
        functional.max_pool2d,
    }
    spatial_mean = (
        node.op == "call_method"
        and node.target == "mean"
        and len(node.args) > 1
        and sorted(_ints(node.args[1])) in ([2, 3], [-2, -1])
    )
    return (
        is_add(node)
        or is_relu(graph, node)
        or isinstance(submodule(graph, node), modules)
        or (node.op == "call_function" and node.target in functions)
        or spatial_mean
    )


def is_concatenation(node: "Node") -> bool:
    """Tell whether the node puts channels of activations side by side."""
    import torch

    dimension = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
    return bool(node.op == "call_function" and node.target is torch.cat and dimension == 1)


def is_rounded(graph: "GraphModule", node: "Node") -> bool:
    """Tell whether a runtime rounds the node's output to 8 bits.

    Runtimes fuse a ReLU into the layer or addition before it; then only the ReLU's output is.
    """
    if node.op == "output":
        return False
    fuses = layer(graph, node) is not None or is_add(node)
    users = list(node.users)
    return not (fuses and len(users) == 1 and is_relu(graph, users[0]))


def _ints(value: object) -> list[int]:
    many = value if isinstance(value, list | tuple) else [value]
    return [item for item in many if isinstance(item, int)]


def _is_batch_norm(graph: "GraphModule", node: "Node") -> bool:
    from torch import nn

    return isinstance(submodule(graph, node), nn.modules.batchnorm._BatchNorm) or (  # noqa: SLF001
        node.op == "call_function" and node.target is nn.functional.batch_norm
    )
