"""Torch-Pruning's dependency graph of a module, and its groups of coupled channels."""

import warnings
from typing import TYPE_CHECKING, Any

from squeeze.models import adapters
from squeeze.pruning import outputs

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import Tensor, nn


def trace(module: "nn.Module", example: "Tensor") -> Any:  # noqa: ANN401  (Torch-Pruning is untyped)
    """Return the dependency graph of an adapted module; autograd must be on.

    Args:
        module: All its parameters require gradients.
        example: A batch ``(N, C, H, W)``.
    """
    from torch_pruning import DependencyGraph

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of parameters that it then handles
        graph = DependencyGraph().build_dependency(
            module,
            example_inputs=example,
            output_transform=_tensors,
            customized_pruners=adapters.pruners(),
            unwrapped_parameters=[],
            ignored_params=[],
            verbose=False,
        )
    adapters.connect_(graph)
    return graph


def _tensors(found: Any) -> "list[Tensor]":  # noqa: ANN401
    return [tensor for _, tensor in outputs.tensors(found) if tensor.requires_grad]


def release_(graph: Any) -> None:  # noqa: ANN401
    """Let go of the forward pass that was traced; groups hold the graph, and it the activations."""
    from torch import nn

    for node in graph.module2node.values():
        node.grad_fn = None
        if isinstance(node.module, nn.Module) and hasattr(node.module, "grad_fn"):
            del node.module.grad_fn


def groups(graph: Any, ends: "Collection[nn.Module]" = ()) -> list[Any]:  # noqa: ANN401
    """Return Torch-Pruning's groups, each channel in one of them, in the order of its graph.

    Unlike its own ``get_all_groups`` wide layers start first and depthwise ones last: what starts
    must reach all that it is tied to, and a depthwise layer behind a join of many would make one
    group of what can be pruned layer by layer.

    Args:
        graph: From ``trace``.
        ends: Layers that make the model's outputs, which stay: what they are tied to is not
            followed, for behind a detector's heads flattened maps make lists of gigabytes.
    """
    from torch_pruning import ops

    layers = [
        part for part in graph.module2node if isinstance(part, ops.TORCH_CONV | ops.TORCH_LINEAR)
    ]
    order = {layer: number for number, layer in enumerate(layers)}
    layers.sort(key=lambda layer: (_is_depthwise(layer), -graph.get_out_channels(layer)))
    found: dict[int, Any] = {}
    reached: set[nn.Module] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deep networks: it gives up the search for a width
        for layer in layers:
            if layer in reached:
                continue
            members = _alone(layer, graph) if layer in ends else _fitting(layer, graph)
            made = [item for item in members if graph.is_out_channel_pruning_fn(item.dep.handler)]
            reached.update(item.dep.target.module for item in made)
            found[order[layer]] = members if layer in ends else _numbered(members, graph)
    return [found[number] for number in sorted(found)]


def _all_channels(layer: "nn.Module", graph: Any) -> Any:  # noqa: ANN401
    remove = graph.get_pruner_of_module(layer).prune_out_channels
    return graph.get_pruning_group(layer, remove, list(range(graph.get_out_channels(layer))))


def _fitting(layer: "nn.Module", graph: Any) -> Any:  # noqa: ANN401
    """Return a layer's group without sides that have fewer channels than are tied to them.

    A mask of one channel or a few weights of a sum go with all channels: nothing is cut there.
    Where Torch-Pruning gives up, as at recurrent layers, or counts positions of a map as channels
    of the layer itself, the layer's own channels are left. Whether what is left is right, is proven
    afterwards.
    """
    try:
        members = _all_channels(layer, graph)
    except (IndexError, ValueError, ZeroDivisionError):
        return _alone(layer, graph)
    fitting = [item for item in members.items if _fits(item, graph)]
    if fitting[:1] != members.items[:1]:
        return _alone(layer, graph)
    members._group = fitting  # noqa: SLF001
    return members


def _fits(item: Any, graph: Any) -> bool:  # noqa: ANN401
    from torch import nn

    layer, pruner = item.dep.target.module, item.dep.handler.__self__
    if isinstance(layer, nn.Parameter):
        width = layer.shape[item.dep.target.pruning_dim]
    elif graph.is_out_channel_pruning_fn(item.dep.handler):
        width = pruner.get_out_channels(layer)
    else:
        width = pruner.get_in_channels(layer)
    return width is None or max(item.idxs, default=0) < width


def _alone(layer: "nn.Module", graph: Any) -> Any:  # noqa: ANN401
    """Return the group of a layer's own channels, without what they are tied to."""
    node = graph.module2node[layer]
    dependencies, node.dependencies = node.dependencies, []
    try:
        return _all_channels(layer, graph)
    finally:
        node.dependencies = dependencies


def _is_depthwise(layer: Any) -> bool:  # noqa: ANN401
    return getattr(layer, "groups", 1) > 1 and layer.groups == layer.out_channels


def _numbered(members: Any, graph: Any) -> Any:  # noqa: ANN401
    """Return the same group with its channels numbered by the narrowest layer that reaches all.

    A ghost module makes two channels from each of its first convolution; a sum behind it ties
    those two, so that channels of the sum must not be chosen one by one.
    """
    reached = _reach(members)
    narrower = [
        item.dep.target.module
        for item in members
        if _is_root(item, graph) and len(item.idxs) < len(members[0].idxs)
    ]
    for layer in sorted(narrower, key=graph.get_out_channels):
        other = _all_channels(layer, graph)
        if _reach(other) == reached:
            return other
    return members


def _is_root(item: Any, graph: Any) -> bool:  # noqa: ANN401
    """Tell whether all outputs of a convolution or linear layer are in the group."""
    from torch_pruning import ops

    layer = item.dep.target.module
    return (
        isinstance(layer, ops.TORCH_CONV | ops.TORCH_LINEAR)
        and graph.is_out_channel_pruning_fn(item.dep.handler)
        and len(item.idxs) == graph.get_out_channels(layer)
    )


def _reach(members: Any) -> dict[Any, int]:  # noqa: ANN401
    """Return how many channels go at every side of every layer."""
    return {(item.dep.target, item.dep.handler): len(item.idxs) for item in members}
