"""Sums, means and maxima over dimensions, softmax, pooling and resizing."""

import re
from typing import TYPE_CHECKING, Any

from squeeze.pruning.graph.call import Call
from squeeze.pruning.graph.labels import Labelled, varying

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from squeeze.pruning.graph.call import Rule

_SUMS = "sum norm linalg_vector_norm"
_MEANS = "mean amax amin max min std var logsumexp prod any all var_mean std_mean median"
_ALONG = "softmax log_softmax _softmax _log_softmax cumsum cumprod sort argsort topk cummax"
_POOLS = """max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
    adaptive_max_pool3d max_pool2d_with_indices lp_pool2d upsample_nearest1d upsample_nearest2d
    upsample_nearest3d upsample_bilinear2d upsample_bicubic2d upsample_linear1d
    upsample_trilinear3d _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa reflection_pad1d
    reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d"""


def sums(call: Call) -> Any:  # noqa: ANN401
    """Sums: a channel that is zero adds nothing."""
    return _reduced(call, exact=True)


def means(call: Call) -> Any:  # noqa: ANN401
    """Means and extremes: what is left would change them."""
    return _reduced(call, exact=False)


def _reduced(call: Call, *, exact: bool) -> Any:  # noqa: ANN401
    x: Labelled = call.args[0]
    dims = _dims(call, len(x.shape))
    maps = []
    for labels in x.maps:
        own = set(varying(labels))
        left = own - set(dims)
        if own and not left:
            if not exact:
                call.stay(labels, f"is reduced by '{call.name}'")
            continue
        found = call.coupling.collapse(labels, dims)
        if len(call.shape) < len(x.shape):
            keep = [size for dim, size in enumerate(found.shape) if dim not in dims]
            found = found.reshape(keep)
        maps.append(found)
    made = [x.with_maps(maps, shape) for shape in call.shapes]
    return made if call.several else made[0]


def _dims(call: Call, ndim: int) -> list[int]:
    position = 2 if call.name in {"norm", "linalg_vector_norm"} else 1
    found = call.argument(position, "dim")
    if found is None or isinstance(found, bool) or found == []:
        return list(range(ndim))
    own: Sequence[int] = found if isinstance(found, list | tuple) else [found]
    return [dim % ndim for dim in own]


def along(call: Call) -> Any:  # noqa: ANN401
    """Softmax, sums up to a place and orders: over channels they change with what is left."""
    x: Labelled = call.args[0]
    position = 2 if call.name == "topk" else 1
    dim = call.argument(position, "dim", -1)
    dim = (dim if isinstance(dim, int) else -1) % len(x.shape)
    shape_kept = all(shape == x.shape for shape in call.shapes)
    maps = []
    for labels in x.maps:
        if labels.shape[dim] > 1:
            call.stay_apart(labels, dim, labels, f"goes through '{call.name}'")
        if shape_kept or labels.shape[dim] == 1:
            maps.append(labels)
    made = [x.with_maps(maps, shape) for shape in call.shapes]
    return made if call.several else made[0]


def spatial(call: Call) -> Any:  # noqa: ANN401
    """Pooling and resizing: over the last dimensions, channel by channel."""
    x: Labelled = call.args[0]
    rank = int((re.findall(r"(\d)d", call.name) or ["2"])[0])
    dims = list(range(len(x.shape) - rank, len(x.shape)))
    maps: list[Tensor] = []
    for labels in x.maps:
        own = set(varying(labels))
        if own and own <= set(dims):
            call.stay(labels, f"is mixed as positions by '{call.name}'")
        else:
            maps.append(call.coupling.collapse(labels, dims))
    made = [x.with_maps(maps, shape) for shape in call.shapes]
    return made if call.several else made[0]


def regions(call: Call) -> Labelled:
    """``roi_align`` and ``roi_pool``: pieces of a map, channel by channel."""
    x: Labelled = call.args[0]
    for labels in (own for boxes in list(call.tensors())[1:] for own in boxes.maps):
        call.stay(labels, "says which regions are looked at")
    maps = [call.coupling.collapse(labels, (0, 2, 3)) for labels in x.maps]
    return x.with_maps(maps, call.shape)


RULES: "Mapping[str, Rule]" = (
    dict.fromkeys(_SUMS.split(), sums)
    | dict.fromkeys(_MEANS.split(), means)
    | dict.fromkeys(_ALONG.split(), along)
    | dict.fromkeys(_POOLS.split(), spatial)
    | dict.fromkeys(("roi_align", "roi_pool"), regions)
)
