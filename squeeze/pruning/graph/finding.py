"""What can be pruned in a model: its groups of coupled channels, and why some stay.

A residual sum ties all its inputs, a flattened map every position of a channel, a shuffle places
far apart. The ties are read off the model's exported graph, operator by operator; everything after
that, which channels go and how many, works on the plain records made here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from squeeze.core import patterns
from squeeze.core.errors import SqueezeError
from squeeze.models import adapters
from squeeze.models.copying import copied
from squeeze.pruning import computed_weights, proof
from squeeze.pruning.graph import exported, grouping, layers, sizes
from squeeze.pruning.graph.removal import remove_
from squeeze.pruning.graph.walk import Walk
from squeeze.pruning.groups import ChannelGroup, PruningGroups, WrittenSize

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from squeeze.models.types import Model


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
        SqueezeError: The model cannot be exported.
    """
    import torch

    module = copied(model.module, share_weights=True).eval().cpu()
    # a pruned model was adapted before, and widths may look different now
    rewritten = () if model.architecture.pruning else adapters.adapt_(module)
    # classes are the user's, also where an adapter has put another one in their place
    known = patterns.layers_of(module) | patterns.layers_of(model.module)
    kept = _kept(module, known, keep)
    example = torch.zeros(2, *model.input.shape)
    try:
        with proof.watched(module):
            graph = exported.export(module, (example[:1],))
    except Exception as error:
        raise SqueezeError(
            f"torch.export cannot export this model: {type(error).__name__}: "
            f"{str(error).partition(chr(10))[0]}",
            where=proof.culprit(error) or model.architecture.build,
            hint="it must run on an image of its input's shape, without branches on numbers in it",
        ) from error
    groups = _groups(module, graph, kept, whole_heads=whole_heads)
    read = {path for node, path in graph.read()}
    found = PruningGroups(module, tuple(groups), rewritten, layers.unreached(module, read), known)
    found = _with_needed_sizes(found, graph, example)
    broken = proof.failures(found, example, remove_)
    groups = [
        replace(group, kept=broken[group.name]) if group.name in broken else group
        for group in found.groups
    ]
    return replace(found, groups=tuple(groups))


def _with_needed_sizes(
    found: PruningGroups, graph: exported.ExportedGraph, example: "Tensor"
) -> PruningGroups:
    """Drop sizes that count images too, and those that the code reads off its tensors again.

    Factors that are others in a narrow copy are added.
    """
    if not found.prunable or not (graph.factors or any(group.sizes for group in found.groups)):
        return found
    known = sizes.known(found.module)
    if any(group.sizes for group in found.groups):
        unchanged = _differences(found, {}, example, correct=False)
        of_images = unchanged.sides - known if unchanged else set()
        found = _only(found, lambda side: side not in of_images)
    narrow = _differences(found, proof.halves(found.prunable, 0), example, correct=True)
    if narrow is None:
        return found
    needed = narrow.sides | known
    first, *others = _only(found, needed.__contains__).groups
    with_factors = replace(first, sizes=first.sizes + narrow.factors(graph.factors))
    return replace(found, groups=(with_factors, *others))


def _differences(
    found: PruningGroups, gone: "Mapping[str, set[int]]", example: "Tensor", *, correct: bool
) -> sizes.Differences | None:
    """Cut a copy, and return what its code gets wrong."""
    import torch

    module = copied(found.module, share_weights=True)
    try:
        remove_(module, found.groups, gone)
    except SqueezeError:  # a cut that cannot be made; the proof says which
        return None
    with torch.no_grad():
        return sizes.differences(module, lambda module: module(example), correct=correct)


def _only(found: PruningGroups, wanted: "Callable[[tuple[str, str, int]], bool]") -> PruningGroups:
    """Keep some sizes only, and all pieces, which are none."""

    def stays(own: WrittenSize) -> bool:
        return own.place == sizes.PIECE or wanted(own.side)

    groups = (replace(g, sizes=tuple(filter(stays, g.sizes))) for g in found.groups)
    return replace(found, groups=tuple(groups))


def _groups(
    module: "nn.Module",
    graph: exported.ExportedGraph,
    kept: Mapping[str, str],
    *,
    whole_heads: bool,
) -> list[ChannelGroup]:
    from squeeze.models.adapters.layers.select import Select

    parts = dict(module.named_modules())
    picks = {path: part.coupled for path, part in parts.items() if isinstance(part, Select)}
    walk = Walk(graph, picks)
    walk.run()
    parted = _tie_parts(module, walk)
    components = walk.coupling.solve(whole_heads=whole_heads)
    stays: dict[int, str] = {}
    for labels, reason in walk.coupling.stays:
        for number in set(components[labels.numpy()].tolist()):
            if reason == grouping.OUTPUT or number not in stays:
                stays[number] = reason
    renormed = {
        number
        for labels in walk.coupling.renormed
        for number in set(components[labels.reshape(-1).numpy()].tolist())
    }
    sides = list(layers.sides(module, walk.coupling, walk.sides))
    found = [
        replace(
            group,
            name=_name(module, group),
            kept=_reason(module, group, kept),
        )
        for group in grouping.groups(
            sides, components, stays, renormed, _order(graph, parted), walk.coupling.sizes
        )
    ]
    order = {path: number for number, path in enumerate(parts)}
    return sorted(found, key=lambda group: order.get(group.name, len(order)))


def _name(module: "nn.Module", group: ChannelGroup) -> str:
    """Return a group's name: the layer whose weight is computed, not the tensor it is made of."""
    root = computed_weights.layer_of(group.dependencies[0])
    computed = computed_weights.is_computed(module.get_submodule(root))
    return root if computed else group.name


def _reason(module: "nn.Module", group: ChannelGroup, kept: Mapping[str, str]) -> str | None:
    """Return why a group stays."""
    if group.kept == grouping.OUTPUT:
        return group.kept
    # a kept layer's inputs stay as well: it is never touched
    for dependency in group.dependencies:
        if dependency.path in kept:
            return kept[dependency.path]
    computed = computed_weights.reason(module, group.dependencies)
    if computed is None and group.kept is None and group.units == 1:
        return "has a single channel" if group.parts == 1 else "has one channel per part"
    return computed or group.kept


def _order(graph: exported.ExportedGraph, parted: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return which layer rather numbers a group: one that adapters know to come in parts."""
    return {path: (int(path not in parted), number) for path, number in graph.order().items()}


def _tie_parts(module: "nn.Module", walk: Walk) -> list[str]:
    """Tie channels of layers that adapters know to come in equal parts; return their paths."""
    names = {part: path for path, part in module.named_modules()}
    for layer, own in adapters.blocks(module).items():
        labels = _outputs(walk, names[layer])
        if labels is not None:
            rows = labels.reshape(own.count, own.size)
            walk.coupling.tie(rows[:1], rows)
    return [names[layer] for layer in adapters.blocks(module)]


def _outputs(walk: Walk, path: str) -> Any:  # noqa: ANN401
    import torch

    side = walk.coupling.sides.get((f"{path}.weight", 0))
    return None if side is None else torch.from_numpy(side.labels)


def _kept(module: "nn.Module", layers: Mapping[str, str], keep: Sequence[str]) -> dict[str, str]:
    """Return the paths that a pattern keeps, with the reason."""
    found: dict[str, str] = {}
    for pattern in keep:
        hits = set(patterns.matching(layers, pattern, where="keep"))
        below = [path for path, _ in module.named_modules() if patterns.inside(path, hits)]
        found |= dict.fromkeys(below, f"kept by the recipe ('{pattern}')")
    return found
