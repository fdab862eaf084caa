"""What can be pruned in a model: its groups of coupled channels, and why some stay.

Torch-Pruning traces which layers share channels (a residual sum ties all its inputs); everything
after that, which channels go and how many, works on the plain records made here.

Source: Fang et al., DepGraph: Towards Any Structural Pruning (https://arxiv.org/abs/2301.12900).
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from squeeze.core import patterns
from squeeze.core.errors import SqueezeError
from squeeze.models import adapters
from squeeze.models.copying import copied
from squeeze.models.types import PruningRound
from squeeze.pruning import computed_weights, proof, tracing
from squeeze.pruning.groups import ChannelGroup, Dependency, PruningGroups, cuts

if TYPE_CHECKING:
    from torch import nn

    from squeeze.models.types import Model


OUTPUT = "makes the model's output"
"""Why the last layer is left alone."""


def find_groups(
    model: "Model", *, keep: Sequence[str] = (), whole_heads: bool = False
) -> PruningGroups:
    """Find the groups of a copy of the model, and prove that each can be pruned.

    Args:
        model: Left as it is; the copy's parameters share its memory.
        keep: Patterns of layers that are never touched.
        whole_heads: Whether attention loses whole heads rather than channels inside each.

    Raises:
        InputError: A pattern of ``keep`` matches no layer.
        SqueezeError: The model cannot be traced.
    """
    import torch

    module = copied(model.module, share_weights=True).eval().cpu()
    # a pruned model was adapted before, and widths may look different now
    rewritten = () if model.architecture.pruning else adapters.adapt_(module)
    # classes are the user's, also where an adapter has put another one in their place
    layers = patterns.layers_of(module) | patterns.layers_of(model.module)
    kept = _kept(module, layers, keep)
    example = torch.zeros(2, *model.input.shape)
    wants_grad = {name: p.requires_grad for name, p in module.named_parameters()}
    with torch.enable_grad():  # Torch-Pruning traces through autograd
        module.requires_grad_(requires_grad=True)
        try:
            with proof.watched(module):
                graph = tracing.trace(module, example)
            blocks = _blocks(module, whole_heads=whole_heads)
            groups = _groups(module, graph, kept, blocks)
            tracing.release_(graph)
        except Exception as error:
            raise SqueezeError(
                f"Torch-Pruning cannot trace this model: {type(error).__name__}: {error}",
                where=proof.culprit(error) or model.architecture.build,
            ) from error
    for name, parameter in module.named_parameters():
        parameter.requires_grad = wants_grad.get(name, True)
    found = PruningGroups(module, tuple(groups), rewritten, _unreached(module, graph), layers)
    broken = proof.failures(found, example, remove_)
    groups = [
        replace(group, kept=broken[group.name]) if group.name in broken else group
        for group in groups
    ]
    return replace(found, groups=tuple(groups))


def remove_(
    module: "nn.Module",
    groups: Iterable[ChannelGroup],
    gone: Mapping[str, Collection[int]],
) -> None:
    """Remove units of groups from a module of the surveyed structure, in place.

    All indices are those of the survey: every layer is cut once, whatever groups it belongs to.

    Args:
        module: The surveyed module or a copy of it.
        groups: Those of the survey.
        gone: Group name to the units that go.
    """
    frozen = [name for name, p in module.named_parameters() if not p.requires_grad]
    for cut in cuts(groups, gone):
        _cut_(module, cut.dependency, list(cut.indices))
    adapters.resize_(module)
    for name in frozen:  # Torch-Pruning makes new parameters, all of them trainable
        module.get_parameter(name).requires_grad = False


def narrowed(model: "Model", found: PruningGroups, kept: Mapping[str, int]) -> "Model":
    """Return the model at other widths, whatever channels go: for measuring costs.

    Args:
        model: The surveyed model.
        found: Its groups.
        kept: Group name to the units that stay; all where it is missing.
    """
    gone = {
        group.name: range(kept[group.name], group.units)
        for group in found.prunable
        if kept.get(group.name, group.units) < group.units
    }
    module = copied(found.module)
    remove_(module, found.groups, gone)
    return model.pruned(module, PruningRound(importance="none", removed={}), found.adapters)


def _cut_(module: "nn.Module", dependency: Dependency, indices: list[int]) -> None:
    from torch_pruning.pruner.function import LayernormPruner

    parent, _, leaf = dependency.path.rpartition(".")
    if dependency.dimension is None:
        layer = module.get_submodule(dependency.path)
        handler = dependency.remove.__self__  # type: ignore[attr-defined]
        if type(handler) is LayernormPruner and handler.pruning_dim == -1:
            _cut_layer_norm_(layer, indices)
        else:
            if not dependency.is_out:
                _check_equal_groups(dependency, layer, indices)
            dependency.remove(layer, indices)
        return
    owner = module.get_submodule(parent)
    dependency.remove.__self__.pruning_dim = dependency.dimension  # type: ignore[attr-defined]
    setattr(owner, leaf, dependency.remove(getattr(owner, leaf), indices))


def _check_equal_groups(dependency: Dependency, layer: Any, indices: Sequence[int]) -> None:  # noqa: ANN401
    """See that a grouped convolution loses the same inputs in every group.

    Raises:
        SqueezeError: It does not.
    """
    groups = _channel_groups(layer)
    width = getattr(layer, "in_channels", 0) // groups
    if groups > 1 and width:
        inside = [{i % width for i in indices if i // width == group} for group in range(groups)]
        if any(found != inside[0] for found in inside):
            raise SqueezeError(
                f"{dependency.path} ({dependency.kind}) would lose other channels in each of its "
                f"{groups} groups"
            )


def _cut_layer_norm_(layer: Any, indices: list[int]) -> None:  # noqa: ANN401  (libraries subclass it)
    """Remove the last dimension's channels.

    Torch-Pruning 1.6.1 takes what is left in the order of a set, which mixes the weights up.
    """
    import torch
    from torch import nn

    gone = set(indices)
    left = [index for index in range(layer.normalized_shape[-1]) if index not in gone]
    layer.normalized_shape = (*layer.normalized_shape[:-1], len(left))
    for name, parameter in list(layer.named_parameters(recurse=False)):
        weights = parameter.detach()[..., torch.tensor(left, device=parameter.device)]
        setattr(layer, name, nn.Parameter(weights))


def _groups(
    module: "nn.Module",
    graph: Any,  # noqa: ANN401
    kept: Mapping[str, str],
    blocks: "Mapping[Any, adapters.Blocks]",
) -> list[ChannelGroup]:
    names = {part: path for path, part in module.named_modules()}
    last = _output_layers(graph)
    ends = {names[layer] for layer in last if layer in names}
    found = []
    for members in tracing.groups(graph, last):
        root = members[0].dep.target.module
        dependencies = tuple(_dependencies(members, graph, names))
        made = [dependency.path for dependency in dependencies if dependency.is_out]
        # a kept layer's inputs stay as well: it is never touched
        reason = next(
            (kept[dependency.path] for dependency in dependencies if dependency.path in kept), None
        ) or computed_weights.reason(module, dependencies)
        if any(path in ends for path in made):
            reason = OUTPUT
        parts, whole = _parts(members, graph, blocks)
        channels = graph.get_out_channels(root)
        group = ChannelGroup(names[root], channels, parts, whole, dependencies, reason, members)
        if reason is None and group.units == 1:
            reason = "has a single channel" if group.parts == 1 else "has one channel per part"
        found.append(replace(group, kept=reason))
    order = {path: number for number, path in enumerate(names.values())}
    return sorted(found, key=lambda group: order[group.name])


def _dependencies(
    members: Any,  # noqa: ANN401
    graph: Any,  # noqa: ANN401
    names: "Mapping[nn.Module, str]",
) -> Iterable[Dependency]:
    from torch import nn

    for item in members:
        target = item.dep.target
        is_parameter = isinstance(target.module, nn.Parameter)
        path = (
            graph._param_to_name[target.module]  # noqa: SLF001  (it has no public name for it)
            if is_parameter
            else names.get(target.module)
        )
        if path is None:
            continue  # an operation such as a sum or a concatenation: nothing to cut
        yield Dependency(
            path,
            type(target.module).__name__,
            bool(graph.is_out_channel_pruning_fn(item.dep.handler)),
            tuple(item.idxs),
            tuple(item.root_idxs),
            item.dep.handler,
            target.pruning_dim if is_parameter else None,
        )


def _parts(members: Any, graph: Any, blocks: Mapping[Any, adapters.Blocks]) -> tuple[int, bool]:  # noqa: ANN401
    """Return the number of equal parts, and whether whole ones go."""
    counts, whole = [1], False
    for item in members:
        layer = item.dep.target.module
        is_out = graph.is_out_channel_pruning_fn(item.dep.handler)
        if layer in blocks and is_out:
            counts.append(blocks[layer].count)
            whole = whole or blocks[layer].whole
        counts.append(_channel_groups(layer))
    return (max(counts), True) if whole else (math.lcm(*counts), False)


def _blocks(module: "nn.Module", *, whole_heads: bool) -> "Mapping[Any, adapters.Blocks]":
    found = adapters.blocks(module)
    return {
        layer: replace(own, whole=own.whole or (whole_heads and own.heads))
        for layer, own in found.items()
    }


def _channel_groups(layer: object) -> int:
    from torch import nn

    if isinstance(layer, nn.modules.conv._ConvNd):  # noqa: SLF001  (the only common base)
        return 1 if layer.groups == layer.out_channels else layer.groups
    return layer.num_groups if isinstance(layer, nn.GroupNorm) else 1


def _output_layers(graph: Any) -> "set[nn.Module]":  # noqa: ANN401
    """Return the layers from which a way leads to an output without another layer on it."""
    from torch_pruning import ops

    ends = [node for node in graph.module2node.values() if not node.outputs]
    found, seen = set(), set()
    while ends:
        node = ends.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.type in {ops.OPTYPE.CONV, ops.OPTYPE.LINEAR}:
            found.add(node.module)
        else:
            ends.extend(node.inputs)
    return found


def _unreached(module: "nn.Module", graph: Any) -> tuple[str, ...]:  # noqa: ANN401
    from torch import nn

    layers = nn.modules.conv._ConvNd | nn.Linear  # noqa: SLF001
    return tuple(
        path
        for path, part in module.named_modules()
        if isinstance(part, layers) and part not in graph.module2node
    )


def _kept(module: "nn.Module", layers: Mapping[str, str], keep: Sequence[str]) -> dict[str, str]:
    """Return the paths that a pattern keeps, with the reason."""
    found: dict[str, str] = {}
    for pattern in keep:
        hits = set(patterns.matching(layers, pattern, where="keep"))
        below = [path for path, _ in module.named_modules() if patterns.inside(path, hits)]
        found |= dict.fromkeys(below, f"kept by the recipe ('{pattern}')")
    return found
