"""Recover accuracy before quantization: fold, equalize, round, correct biases.

All of it works on the float torch module, so every runtime benefits: the weights come out on the
integer grid that the runtimes' quantizers will find.
"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from squeeze.quantization.recovery import bias, equalize, graph, moments, passed_over, rounding
from squeeze.recipe import schemes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor
    from torch.fx import GraphModule

    from squeeze.core.types import Progress
    from squeeze.data.splits import Split
    from squeeze.models.types import Model
    from squeeze.recipe.schema import QuantizeStep, RecoverySettings

LARGEST = {7: 64, 8: 127}
"""The largest integer of a weight, by its bits; runtimes' grids are symmetric."""

_SAME = 1e-3


@dataclass(frozen=True)
class Recovered:
    """A float model that quantizes better, and what was done, for the report."""

    model: "Model"
    notes: tuple[str, ...]


def recovered(
    model: "Model",
    step: "QuantizeStep",
    calibration: "Split | None",
    progress: "Progress",
    *,
    bits: int,
    own_grid: str | None,
) -> Recovered:
    """Return the model that a quantize step makes its files of, for one backend.

    Args:
        model: The float model.
        step: Its scheme and settings decide.
        calibration: None where the recipe has none.
        progress: Where the bars go.
        bits: 7 or 8, of the weights.
        own_grid: The backend, where it rounds to a grid of its own and recovery has no effect.
    """
    if not schemes.SCHEMES[step.scheme].int8_weights:
        return Recovered(model, ())
    if own_grid is not None:
        why = f"accuracy recovery: none, {own_grid} rounds to a grid of its own"
        return Recovered(model, (why,))
    if calibration is None:
        why = "accuracy recovery: none, there is no calibration data"
        return Recovered(model, (why,))
    settings = step.recovery
    if step.scheme == "weight_only_int8":  # equalizing serves the ranges of activations
        settings = settings.model_copy(update={"equalize": False})
    return recover(model, settings, calibration, progress, bits=bits)


def recover(
    model: "Model",
    settings: "RecoverySettings",
    calibration: "Split",
    progress: "Progress",
    *,
    bits: int,
) -> Recovered:
    """Return a model whose int8 file comes closer to the float model; ``model`` stays as it is.

    A module that cannot be traced comes back unchanged, with a note that says why.

    Args:
        model: The float model.
        settings: What to do.
        calibration: At most 256 of its images are used.
        progress: Where the bars go.
        bits: 7 or 8, of the weights.
    """
    if not settings.active:
        return Recovered(model, ("accuracy recovery: switched off",))
    notes = []
    try:
        rewritten = graph.folded(model.module, shared=True)
        if settings.equalize:
            done = equalize.equalize_(rewritten, calibration, progress, largest=LARGEST[bits])
            notes.append(equalize.note(rewritten, done))
        _refuse_change(model, rewritten, calibration)
        if settings.bias_correction or settings.rounding == "adaptive":
            seen = moments.collect(rewritten, calibration, progress)
            left = passed_over.layers(rewritten, model.module)
            notes.append(round_(rewritten, seen, settings, largest=LARGEST[bits], left=left))
    except graph.UntraceableError as error:
        reason = f"accuracy recovery: none, weights are rounded to nearest: {error}"
        return Recovered(model, (reason,))
    return Recovered(replace(model, module=rewritten), tuple(notes))


def tensors_of(found: "Model", model: "Model") -> "dict[str, Tensor]":
    """Return the weights and buffers of a recovered model; none where it is ``model`` itself."""
    if found is model:
        return {}
    state = found.module.state_dict()
    return {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}


def restored(model: "Model", tensors: "Mapping[str, Tensor]") -> "Model":
    """Return the recovered model whose ``tensors_of`` these are, without recovering it again.

    Args:
        model: The float model that it was recovered from.
        tensors: Of all layers; none where nothing was recovered.
    """
    import torch
    from torch import nn

    if not tensors:
        return model
    rewritten = graph.folded(model.module, shared=True)
    for node in graph.layers(rewritten):
        layer, bias_ = graph.layer(rewritten, node), tensors.get(f"{node.target}.bias")
        if layer is not None and layer.bias is None and bias_ is not None:
            layer.bias = nn.Parameter(torch.zeros_like(bias_))  # correction gave it one
    rewritten.load_state_dict(tensors)
    return replace(model, module=rewritten)


def round_(
    rewritten: "GraphModule",
    seen: "dict[str, moments.Moments]",
    settings: "RecoverySettings",
    *,
    largest: int,
    left: "Mapping[str, str] | None" = None,
) -> str:
    """Put all weights on the grid and correct the biases, in place; return the note.

    Args:
        rewritten: What ``seen`` was gathered in.
        seen: Of the inputs of every layer.
        settings: What to do.
        largest: The largest integer of a weight.
        left: Layers that are passed over, with the reason.
    """
    import torch

    shifts, plain, wants_adaptive = list[float](), list[str](), settings.rounding == "adaptive"
    with torch.no_grad():
        for path, known in seen.items():
            part = cast("graph.Layer", rewritten.get_submodule(path))
            weight = part.weight.double().reshape(*known.mean.shape[:1], -1, known.mean.shape[1])
            if not bool(known.sum.isfinite().all()):
                raise graph.UntraceableError(f"the inputs of {path} are NaN or infinite")
            integers = _adaptive(weight, known, largest) if wants_adaptive else None
            if integers is None:
                integers = rounding.nearest(weight, largest)
                plain.append(_why_nearest(known, wants_adaptive=wants_adaptive))
            rounded = integers * rounding.steps(weight, largest)[..., None]
            part.weight.copy_(rounded.reshape(part.weight.shape))
            if settings.bias_correction:
                shifts.append(_correct_bias_(part, bias.shift(rounded - weight, known.mean)))
    unseen = {str(node.target) for node in graph.layers(rewritten)} - seen.keys()
    reasons = [*(left or {}).values(), *["whose outputs are no images"] * len(unseen)]
    return _note(len(seen), plain, shifts) + passed_over.note(reasons)


def _correct_bias_(part: "graph.Layer", shift: "Tensor") -> float:
    """Add to a layer's bias, in place; return by how much on average."""
    import torch
    from torch import nn

    shift = shift.float()
    if part.bias is None:
        part.bias = nn.Parameter(torch.zeros_like(shift))
    part.bias += shift
    return float(shift.abs().mean())


def _note(layers: int, plain: "Sequence[str]", shifts: "Sequence[float]") -> str:
    """Return how weights were rounded and biases corrected.

    Args:
        layers: How many were rounded.
        plain: Why some were rounded to nearest, a reason each.
        shifts: Mean change of every bias that was corrected.
    """
    why = f" ({', '.join(f'{n} {each}' for each, n in Counter(plain).items())})" if plain else ""
    note = f"weights of {layers - len(plain)} layers rounded adaptively, of {len(plain)} to nearest"
    if shifts:
        mean = sum(shifts) / len(shifts)
        return f"{note}{why}; {len(shifts)} biases corrected, by {mean:.2g} on average"
    return note + why


def _why_nearest(known: moments.Moments, *, wants_adaptive: bool) -> str:
    if not wants_adaptive:
        return "as the recipe says"
    if known.square is None:
        return f"with more than {moments.LARGEST_FAN_IN} inputs"
    return "whose inputs vary too little"


def _adaptive(weight: "Tensor", known: moments.Moments, largest: int) -> "Tensor | None":
    """Return integers, or None where the inputs are too many or vary too little."""
    import torch

    covariance = known.covariance
    if covariance is None:
        return None
    try:
        return rounding.adaptive(weight, covariance, largest)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # not positive definite
        return None


def _refuse_change(model: "Model", rewritten: "GraphModule", calibration: "Split") -> None:
    import torch

    images, _ = calibration.batch(range(min(2, len(calibration))))
    with torch.inference_mode():
        expected = model.module.eval()(torch.from_numpy(images))
        found = rewritten(torch.from_numpy(images))
    if torch.is_tensor(expected):
        expected, found = (expected,), (found,)
    for before, after in zip(expected, found, strict=True):
        difference, scale = float((after - before).abs().max()), float(before.abs().max())
        if not difference <= _SAME * scale:
            raise graph.UntraceableError(
                f"the rewritten graph's outputs differ by {difference:.2g} of {scale:.2g}"
            )
