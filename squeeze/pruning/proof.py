"""Prove by numbers that groups can be pruned, before anything is cut.

A random half of every group's units is removed from a copy, and its outputs are compared with
those of the uncut model in which the same channels are silent: what makes them gives zeros, and
what reads them has zeros for their weights. Equal outputs are what removal means: channels that
stay meet the weights that they met before, and nothing else has changed. A wrong map pairs channels
with the weights of others although all shapes fit, as where a flattened map is not in the order
that was assumed, or where a grouped convolution divides a concatenation elsewhere.

Both zeros are needed. Without those of the readers a right cut would be refused where a function of
zero is not zero, as behind a sigmoid. Without those of the makers attention could lose no channel
inside a head, for queries and keys meet in a product that has no weights. Where channels are read
without weights and zeros are not neutral, as in a mean over channels, the outputs differ, and the
group stays. That the cut model does not depend on weights of removed channels needs no test: it
does not have them.

Values must not hide what is missed, so zeros, equal weights, dead channels and fresh batch norms
get others first (``squeeze.pruning.enliven``), and images are random. Nothing is proven where
numbers are not finite, where all images give the same, or where silence changes no output.

Norms whose statistics run over channels (layer, group and RMS norms, standardised weights) change
numbers by nature when channels go. In the silenced model too they take their statistics of the
channels that stay.
"""

import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from squeeze.core.errors import SqueezeError
from squeeze.models.copying import copied
from squeeze.pruning import enliven, outputs
from squeeze.pruning.groups import cuts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from torch import Tensor, nn

    from squeeze.pruning.groups import ChannelGroup, PruningGroups

    Gone = dict[str, set[int]]
    Remove = Callable[[nn.Module, Sequence[ChannelGroup], Gone], None]

_CULPRIT = "squeeze_culprit"
_SMALL = 1_000_000
_SMALL_SIDE = 64
_TOLERANCE = {"torch.float64": 1e-6, "torch.float32": 1e-4}
"""Largest difference as a fraction of the spread of an output's values."""


def failures(survey: "PruningGroups", example: "Tensor", remove_: "Remove") -> dict[str, str]:
    """Return the groups that cannot be proven, each with the reason.

    All groups are proven at once. Only if that fails are they halved until the guilty ones are
    found, and the others are proven together again.

    Args:
        survey: Groups found so far.
        example: A batch ``(N, C, H, W)`` as the model is fed; its values are drawn anew.
        remove_: Removes units in place.
    """
    remaining = survey.prunable
    if not remaining:
        return {}
    subject = _subject(survey.module, example, is_double=_is_small(survey.module, example))
    if isinstance(subject, str):
        return {group.name: f"cannot be proven: {subject}" for group in remaining}
    proof = _Proof(survey, subject, remove_)
    found: dict[str, str] = {}
    while remaining:
        reason = proof.search(remaining, found)
        if reason is None:
            break
        left = tuple(group for group in remaining if group.name not in found)
        if len(left) == len(remaining):  # groups may work alone and break together
            reason = f"breaks together with other groups: {reason}"
            return found | {group.name: reason for group in remaining}
        remaining = left
    return found


def largest_difference(survey: "PruningGroups", example: "Tensor", remove_: "Remove") -> float:
    """Return by how much the outputs differ when all prunable groups are cut at once.

    Args:
        survey: Groups that have been proven.
        example: A batch ``(N, C, H, W)`` as the model is fed.
        remove_: Removes units in place.

    Returns:
        The largest difference as a fraction of the spread of an output's values; 0 where there is
        nothing to prune, infinite where nothing can be compared.
    """
    groups = survey.prunable
    subject = _subject(survey.module, example, is_double=_is_small(survey.module, example))
    if isinstance(subject, str) or not groups:
        return 0.0 if not groups else float("inf")
    proof = _Proof(survey, subject, remove_)
    return outputs.distance(*proof.outputs(groups, halves(groups, 0)))


def culprit(error: BaseException) -> str | None:
    """Return the path and class of the innermost module that raised during ``watched``."""
    return getattr(error, _CULPRIT, None)


@contextmanager
def watched(module: "nn.Module") -> "Iterator[None]":
    """Note on an exception in which submodule it arose."""
    stack: list[str] = []
    hooks = []
    for path, part in module.named_modules():
        label = f"{path or 'the model'} ({type(part).__name__})"
        hooks += [
            part.register_forward_pre_hook(lambda *_, label=label: stack.append(label)),
            part.register_forward_hook(lambda *_: _pop(stack)),
        ]
    try:
        yield
    except Exception as error:
        setattr(error, _CULPRIT, stack[-1] if stack else None)
        raise
    finally:
        for hook in hooks:
            hook.remove()


def _pop(stack: list[str]) -> None:
    stack.pop()


@dataclass(frozen=True)
class _Subject:
    """A model whose values hide nothing, with random images and what it makes of them."""

    module: "nn.Module"
    images: "Tensor"
    outputs: "dict[str, Tensor]"

    @property
    def tolerance(self) -> float:
        return _TOLERANCE[str(self.images.dtype)]


class _Proof:
    """Proves sets of groups of one survey."""

    def __init__(self, survey: "PruningGroups", subject: _Subject, remove_: "Remove") -> None:
        self._survey = survey
        self._subject = subject
        self._remove_ = remove_
        self._is_sharp = subject.images.element_size() > 4  # noqa: PLR2004  (bytes of a float)

    def search(self, groups: "Sequence[ChannelGroup]", found: dict[str, str]) -> str | None:
        """Return why groups fail together, None if they do not; add those that fail alone."""
        reason = self._reason(groups)
        if reason is None:
            return None
        if len(groups) == 1:
            found[groups[0].name] = reason
            return reason
        half = len(groups) // 2
        self.search(groups[:half], found)
        self.search(groups[half:], found)
        return reason

    def _reason(self, groups: "Sequence[ChannelGroup]") -> str | None:
        for seed in range(2 if self._is_sharp else 1):  # two where they are cheap
            gone = halves(groups, seed)
            try:
                reason = self._difference(groups, gone)
                if reason is not None and self._sharpened():
                    reason = self._difference(groups, gone)
            except SqueezeError as error:
                return str(error)
            except Exception as error:  # noqa: BLE001  whatever code raises on other widths
                said = str(error).partition("\n")[0] or type(error).__name__
                return f"unsupported operation in {culprit(error) or 'the model'}: {said}"
            if reason is not None:
                return reason
        return None

    def _difference(self, groups: "Sequence[ChannelGroup]", gone: "Gone") -> str | None:
        cut, silent = self.outputs(groups, gone)
        before, after = outputs.shapes(silent), outputs.shapes(cut)
        if before != after:
            return f"changes the output from {before} to {after}"
        error = outputs.distance(cut, silent)
        if error > self._subject.tolerance:
            return (
                f"removing its channels changes the outputs by {_percent(error)} where they should "
                "not change (channels and the weights that read them do not correspond)"
            )
        if outputs.distance(silent, self._subject.outputs) <= self._subject.tolerance:
            return "cannot be proven: its channels have no influence on the outputs"
        return None

    def outputs(
        self, groups: "Sequence[ChannelGroup]", gone: "Gone"
    ) -> "tuple[dict[str, Tensor], dict[str, Tensor]]":
        """Return the outputs of the cut model and of the silenced one."""
        from squeeze.pruning import silence

        module, images = self._subject.module, self._subject.images
        removed = cuts(groups, gone)
        cut = copied(module, share_weights=True)
        self._remove_(cut, self._survey.groups, gone)
        silent = copied(module, share_weights=True)
        rests = silence.layers_of_the_rest(cut, module, removed)
        found = _run(cut, images)
        silence.silence_(silent, removed, rests)
        return found, _run(silent, images)

    def _sharpened(self) -> bool:
        """Go on in double precision; tell whether that is new, and possible."""
        if self._is_sharp:
            return False
        self._is_sharp = True
        made = _subject(self._survey.module, self._subject.images, is_double=True)
        if isinstance(made, str) or made.images.dtype == self._subject.images.dtype:
            return False
        self._subject = made
        return True


def _percent(share: float) -> str:
    return f"{share:.2g} times their spread" if share > 1 else f"{100 * share:.2g} %"


def halves(groups: "Sequence[ChannelGroup]", seed: int) -> "Gone":
    """Return a little less than a random half of every group's units, but one at least.

    With just half of them, code that reshapes to a fixed width would take two images for one. Every
    group has a draw of its own, so that one that fails among others fails alone as well.
    """
    return {group.name: _half(group, seed) for group in groups}


def _half(group: "ChannelGroup", seed: int) -> set[int]:
    import torch

    source = torch.Generator().manual_seed(zlib.crc32(f"{seed} {group.name}".encode()))
    order = torch.randperm(group.units, generator=source)
    return group.removable(order.tolist(), max(1, (group.units - 1) // 2))


def _is_small(module: "nn.Module", example: "Tensor") -> bool:
    """Tell whether double precision costs next to nothing."""
    count = sum(parameter.numel() for parameter in module.parameters())
    return count <= _SMALL and example[0, 0].numel() <= _SMALL_SIDE**2


def _subject(module: "nn.Module", example: "Tensor", *, is_double: bool) -> "_Subject | str":
    """Return what proofs are made on, or why there is nothing that could prove anything.

    Some code insists on single precision, some on values that it was built with.
    """
    import torch

    types = (torch.float64, torch.float32) if is_double else (torch.float32,)
    reason = ""
    for is_drawn in (True, False):
        for dtype in types:
            made = _built(module, example, dtype, is_drawn=is_drawn)
            if not isinstance(made, str):
                return made
            reason = reason or made
    return reason


def _built(
    module: "nn.Module",
    example: "Tensor",
    dtype: "torch.dtype",
    *,
    is_drawn: bool,
) -> "_Subject | str":
    import torch

    source = torch.Generator().manual_seed(0)
    images = torch.empty((2, *example.shape), dtype=dtype).normal_(generator=source)
    made = copied(module, share_weights=True).to(dtype)
    try:
        if is_drawn:
            enliven.redraw_(made)
            enliven.calibrate_(made, images[0])
        found = _run(made, images[1])
    except Exception as error:  # noqa: BLE001  whatever code raises on other values
        said = str(error).partition("\n")[0] or type(error).__name__
        return f"random images fail in {culprit(error) or 'the model'}: {said}"
    if any(not bool(tensor.isfinite().any()) for tensor in found.values()):
        return "outputs of random images are not finite"
    if not any(outputs.spread(tensor) > 0 for tensor in found.values()):
        return "outputs of random images are all the same"
    return _Subject(made, images[1], found)


def _run(module: "nn.Module", images: "Tensor") -> "dict[str, Tensor]":
    """Return the outputs; what draws random numbers draws the same ones every time."""
    import torch

    with torch.inference_mode(), torch.random.fork_rng(devices=()), watched(module):
        torch.manual_seed(0)
        return dict(outputs.tensors(module(images)))
