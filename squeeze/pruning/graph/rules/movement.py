"""Operators that move elements: done to the labels by the very operator."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from squeeze.pruning.graph.call import Call, join
from squeeze.pruning.graph.labels import FREE, Labelled, squeezed, varying, widened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from squeeze.pruning.graph.call import Rule

_VIEWS = "view reshape _unsafe_view flatten unflatten view_as reshape_as"
_ORDERS = """permute transpose t movedim moveaxis swapaxes swapdims numpy_T mT squeeze unsqueeze
    flip diagonal"""
_BLOCKS = (
    "pixel_shuffle pixel_unshuffle channel_shuffle im2col unfold repeat_interleave repeat tile"
)


def moved(call: Call, x: Labelled, move: "Callable[[Tensor], Tensor]") -> Labelled:
    """Return a tensor whose labels are moved as the tensor is."""
    maps = [squeezed(move(labels.expand(x.shape))) for labels in x.maps]
    return x.with_maps(maps, call.shape)


def view(call: Call) -> Labelled:
    """Reshape; dimensions that labels are spread over must stay a grid."""
    found = moved(call, call.args[0], lambda labels: labels.reshape(call.shape))
    for labels in found.maps:
        call.coupling.grid(labels)
    first = call.args[1] % len(call.args[0].shape) if call.name == "unflatten" else 0
    _note(call, found, call.args[2] if call.name == "unflatten" else call.argument(1, ""), first)
    return found


def _note(call: Call, found: Labelled, sizes: Any, first: int = 0) -> None:  # noqa: ANN401
    """Note the sizes that a shape gives."""
    for place, size in enumerate(sizes if isinstance(sizes, list | tuple) else ()):
        for labels in found.maps:
            if size != -1 and labels.shape[first + place] > 1:
                call.size(place, size, labels, first + place)


def order(call: Call) -> Labelled:
    """Permute, transpose, squeeze, flip: nothing depends on how many channels there are."""
    return moved(call, call.args[0], lambda labels: run(call, labels))


def blocks(call: Call) -> Labelled:
    """Move whole blocks, such as those of a pixel shuffle."""
    found = moved(call, call.args[0], lambda labels: run(call, labels.double()).long())
    for labels in found.maps:
        call.coupling.grid(labels)
    return found


def expand(call: Call) -> Labelled:
    """Broadcast."""
    x: Labelled = call.args[0]
    found = x.with_maps([widened(labels, len(call.shape)) for labels in x.maps], call.shape)
    _note(call, found, call.argument(1, ""))
    return found


def run(call: Call, labels: "Tensor") -> Any:  # noqa: ANN401
    """Run the call's own operator on labels in place of its first argument."""
    rest = [_real(argument) for argument in call.args[1:]]
    named = {name: _real(argument) for name, argument in call.kwargs.items()}
    return call.node.target(labels, *rest, **named)  # type: ignore[operator]


def _real(argument: Any) -> Any:  # noqa: ANN401
    if isinstance(argument, Labelled):
        return argument.value
    if isinstance(argument, list | tuple):
        return [_real(item) for item in argument]
    return argument


def index_select(call: Call) -> Labelled:
    """Positions along a dimension, by a constant."""
    x, dim, index = call.args[:3]
    return _picked(call, x, [dim % len(x.shape)], [index])


def index(call: Call) -> Labelled:
    """``x[:, i, ...]`` with constants."""
    x, indices = call.args[:2]
    if any(
        one is not None and one.value is not None and one.value.dtype == _bool() for one in indices
    ):
        found: Labelled = call.unknown()
        return found
    dims = [dim for dim, one in enumerate(indices) if one is not None]
    return _picked(call, x, dims, [indices[dim] for dim in dims])


def _bool() -> Any:  # noqa: ANN401
    import torch

    return torch.bool


def _picked(call: Call, x: Labelled, dims: Sequence[int], indices: Sequence[Labelled]) -> Labelled:
    import torch

    known = all(one.value is not None for one in indices)
    maps = []
    for labels in x.maps:
        touched = [dim for dim in dims if dim in varying(labels)]
        for dim in touched:
            if known:
                call.stay_picked(labels, dim, 0, labels.shape[dim])
            else:
                what = "is picked by positions that depend on the data"
                call.stay_apart(labels, dim, labels, what)
        if known:
            maps.append(squeezed(run(call, labels.expand(x.shape))))
        elif not touched:
            zeros = [torch.zeros(one.shape, dtype=torch.long) for one in indices]
            args: list[Any] = [None] * len(x.shape)
            for dim, zero in zip(dims, zeros, strict=True):
                args[dim] = zero
            picked = labels.expand(x.shape)
            if call.name == "index_select":
                maps.append(squeezed(picked.index_select(dims[0], zeros[0])))
            else:
                maps.append(squeezed(torch.ops.aten.index(picked, args[: max(dims) + 1])))
    return x.with_maps(maps, call.shape)


def gather(call: Call) -> Labelled:
    """Positions along one dimension, different ones at every place."""
    x: Labelled = call.args[0]
    dim = call.args[1] % len(x.shape)
    for labels in x.maps:
        what = "is picked by positions that depend on the data"
        call.stay_apart(labels, dim, labels, what)
        if any(x.shape[d] != call.shape[d] for d in varying(labels)):
            call.stay(labels, what)
    maps = [labels for labels in x.maps if labels.shape[dim] == 1]
    return x.with_maps(maps, call.shape)


def index_put(call: Call) -> Labelled:
    """Write along the first dimension: what is written meets what was there."""
    x, indices, values = call.args[:3]
    whole = len(indices) == 1 and values.shape[1:] == x.shape[1:]
    if not whole or any(labels.shape[0] > 1 for own in (x, values) for labels in own.maps):
        found: Labelled = call.unknown()
        return found
    return join(call, [x, values.with_maps(values.maps, (1, *values.shape[1:]))], call.shape)


def pieces(call: Call) -> list[Labelled]:
    """``chunk``, ``split`` and ``unbind``."""
    x: Labelled = call.args[0]
    position = {"unbind": 1}.get(call.name, 2)
    dim = call.argument(position, "dim", 0) % len(x.shape)
    for labels in x.maps:
        if call.name != "unbind":
            _even(call, labels, dim)
        _note_pieces(call, labels, dim)
    made: list[list[Tensor]] = [[] for _ in call.shapes]
    for labels in x.maps:
        for own, part in zip(made, run(call, labels.expand(x.shape)), strict=True):
            own.append(squeezed(part))
    return [x.with_maps(maps, shape) for maps, shape in zip(made, call.shapes, strict=True)]


def _note_pieces(call: Call, labels: "Tensor", dim: int) -> None:
    """Note the sizes of pieces, or the one that all have."""
    if labels.shape[dim] == 1 or call.name not in {"split", "split_with_sizes"}:
        return
    sizes, start = call.args[1], 0
    for place, size in enumerate(sizes if isinstance(sizes, list | tuple) else [sizes]):
        call.size(place, size, labels.narrow(dim, start, size), dim)
        start += size


def _even(call: Call, labels: "Tensor", dim: int) -> None:
    """Let equal pieces stay equal."""
    sizes = {shape[dim] for shape in call.shapes}
    if len(sizes) == 1 and len(call.shapes) > 1 and labels.shape[dim] > 1:
        shape = labels.shape
        parts = labels.reshape(*shape[:dim], len(call.shapes), -1, *shape[dim + 1 :])
        call.coupling.grid(parts, along=dim + 1 if parts.shape[dim + 1] > 1 else None)


def roll(call: Call) -> Labelled:
    """Shift along dimensions; channels that are shifted stay."""
    x: Labelled = call.args[0]
    dims = [dim % len(x.shape) for dim in call.argument(2, "dims", ())]
    if not dims:
        found: Labelled = call.unknown()
        return found
    maps = []
    for labels in x.maps:
        if set(dims).isdisjoint(varying(labels)):
            maps.append(labels)
        else:
            call.stay(labels, "is shifted by a written number of channels")
            maps.append(run(call, labels.expand(x.shape)))
    return x.with_maps(maps, call.shape)


def pad(call: Call) -> Labelled:
    """Zeros around; those beside channels are free to go."""
    import torch
    from torch.nn import functional

    x: Labelled = call.args[0]
    amounts = call.args[1]
    mode = call.argument(2, "mode", "constant") if call.name == "pad" else "constant"
    value = call.argument(3 if call.name == "pad" else 2, "value", 0)
    dims = {len(x.shape) - 1 - i // 2 for i, amount in enumerate(amounts) if amount}
    maps = []
    for labels in x.maps:
        if dims.isdisjoint(varying(labels)):
            maps.append(labels)
            continue
        if mode != "constant" or value:
            call.stay(labels, "is padded")
        own = [
            amount if labels.shape[len(x.shape) - 1 - i // 2] > 1 else 0
            for i, amount in enumerate(amounts)
        ]
        maps.append(squeezed(functional.pad(labels, own).to(torch.long)))
    return x.with_maps(maps, call.shape)


def cat(call: Call) -> Labelled:
    """Put tensors side by side."""
    parts = [part for part in call.args[0] if math.prod(part.shape)]
    return _beside(call, parts, call.argument(1, "dim", 0) % len(call.shape))


def stack(call: Call) -> Labelled:
    """Put tensors side by side along a new dimension."""
    dim = call.argument(1, "dim", 0) % len(call.shape)
    parts = [
        part.with_maps(
            [labels.unsqueeze(dim) for labels in part.maps],
            (*part.shape[:dim], 1, *part.shape[dim:]),
        )
        for part in call.args[0]
    ]
    return _beside(call, parts, dim)


def _beside(call: Call, parts: Sequence[Labelled], dim: int) -> Labelled:
    import torch

    families: list[dict[int, Tensor]] = []
    for number, part in enumerate(parts):
        # those that differ along something choose first: a single position fits anywhere
        for labels in sorted(part.maps, key=lambda own: -len(varying(own))):
            dims = set(varying(labels))
            free = [family for family in families if number not in family]
            fits = [
                family
                for family in free
                if not dims or any(dims & (set(varying(own)) or dims) for own in family.values())
            ]
            if fits:
                best = max(fits, key=lambda own: _shared(dims, own.values()))
                best[number] = labels
            else:
                families.append({number: labels})
    maps = []
    for family in families:
        others = [d for d in range(len(call.shape)) if d != dim]
        shape = [max(own.shape[d] for own in family.values()) for d in range(len(call.shape))]
        rows = []
        for number, part in enumerate(parts):
            own = family[number] if number in family else _nothing(call, part)
            shape[dim] = part.shape[dim]
            rows.append(own.expand(shape))
        if all(shape[d] == 1 for d in others):
            maps.append(squeezed(torch.cat(rows, dim)))
            continue
        found = call.coupling.collapse(rows[0], [dim])  # as wide at every place along ``dim``
        for row in rows[1:]:
            other = call.coupling.collapse(row, [dim])
            call.coupling.tie(found, other)
            found = torch.where(found == FREE, other, found)
        maps.append(found)
    fixed = any(part.fixed for part in parts)
    return Labelled(call.shape, tuple(maps), fixed, learned=all(part.learned for part in parts))


def _shared(dims: set[int], family: "Iterable[Tensor]") -> int:
    """Return along how many dimensions a map differs as those of a family do."""
    return max(len(dims & set(varying(own))) for own in family)


def _nothing(call: Call, part: Labelled) -> "Tensor":
    """Return labels for a part that has none."""
    import torch

    shape = (1,) * len(part.shape)
    is_zero = part.value is not None and not bool(part.value.any())
    if not part.fixed or is_zero:
        return torch.zeros(shape, dtype=torch.long)
    labels = call.coupling.fresh(1).reshape(shape)
    call.stay(labels, "stands beside numbers that no layer makes")
    return labels


RULES: "Mapping[str, Rule]" = (
    dict.fromkeys(_VIEWS.split(), view)
    | dict.fromkeys(_ORDERS.split(), order)
    | dict.fromkeys(_BLOCKS.split(), blocks)
    | dict.fromkeys(("expand", "expand_as", "broadcast_to"), expand)
    | dict.fromkeys(("chunk", "split", "split_with_sizes", "tensor_split", "unbind"), pieces)
    | dict.fromkeys(("cat", "concat", "concatenate"), cat)
    | dict.fromkeys(("pad", "constant_pad_nd"), pad)
    | {
        "index_select": index_select,
        "index": index,
        "gather": gather,
        "index_put": index_put,
        "roll": roll,
        "stack": stack,
    }
)
