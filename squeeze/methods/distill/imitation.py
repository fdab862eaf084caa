"""Turn loss blocks into an objective for the training loop: taps, ties, learned parts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from squeeze.core.errors import InputError
from squeeze.methods.distill.losses.base import Traits, Views
from squeeze.methods.distill.taps import Kept, tap
from squeeze.methods.distill.ties import Survey, Tie, choose, survey
from squeeze.recipe import losses as blocks
from squeeze.recipe.schema import LossBlock

if TYPE_CHECKING:
    from torch import Tensor, nn

    from squeeze.methods.distill.parts import Term
    from squeeze.methods.training.objective import Objective

_MAP = 4


@dataclass(frozen=True)
class Imitation:
    """What the training loop is given to let a student imitate a teacher.

    Attributes:
        objective: Weighted sum of the losses.
        extra: The losses' learned parts, to be trained along and thrown away.
        notes: Which layers are compared.
    """

    objective: "Objective"
    extra: "nn.Module"
    notes: list[str]


@dataclass(frozen=True)
class _Side:
    """One of the two models under observation."""

    module: "nn.Module"
    kept: Kept
    seen: Survey

    def views(
        self, images: "Tensor", logits: "Tensor", paths: Sequence[str], sizes: "Sequence[_Size]"
    ) -> Views:
        """Return what one loss gets to see of the forward pass that has just been."""
        from torch.nn.functional import adaptive_avg_pool2d

        outputs = [self.kept.outputs[path].float() for path in paths]
        vectors = [x.mean((2, 3)) if x.ndim == _MAP else x for x in outputs]
        maps = [
            x if size is None or tuple(x.shape[2:]) == size else adaptive_avg_pool2d(x, size)
            for x, size in zip(outputs, sizes, strict=True)
        ]
        if not paths and self.seen.classifier is not None:
            vectors = [self.kept.inputs[self.seen.classifier].float()]
        return Views(
            images=images,
            logits=logits.float(),
            maps=tuple(maps),
            vectors=tuple(vectors),
            look=lambda other: self.views(other, self.module(other), paths, sizes),
            classifier=self._classifier(),
        )

    def _classifier(self) -> "Callable[[Tensor], Tensor] | None":
        path = self.seen.classifier
        return None if path is None else self.module.get_submodule(path)


_Size = tuple[int, int] | None


@dataclass(frozen=True)
class _Loss:
    """A loss block that is ready to be computed."""

    block: LossBlock
    traits: Traits
    weight: float
    ties: list[Tie]
    sizes: list[_Size]
    term: "Term"

    def value(self, student: "_Pass", teacher: "_Pass", labels: "Tensor") -> "Tensor":
        """Return the weighted loss of a batch."""
        if len(labels) < self.traits.min_batch:
            raise InputError(blocks.too_few(self.block.name, len(labels)), where="batch_size")
        value: Tensor = self.term(
            student.views([tie.student for tie in self.ties], self.sizes),
            teacher.views([tie.teacher for tie in self.ties], self.sizes),
            labels,
        )
        return self.weight * value


@dataclass(frozen=True)
class _Pass:
    """A forward pass of one model."""

    side: _Side
    images: "Tensor"
    logits: "Tensor"

    def views(self, paths: Sequence[str], sizes: Sequence[_Size]) -> Views:
        """Return what one loss gets to see of it."""
        return self.side.views(self.images, self.logits, paths, sizes)


@contextmanager
def imitating(
    student: "nn.Module",
    teacher: "nn.Module",
    losses: Sequence[LossBlock],
    *,
    labels: "Objective",
    label_weight: float,
    shape: Sequence[int],
) -> Iterator[Imitation]:
    """Observe two models for the time of the block, and give the training loop an objective.

    Args:
        student: Trained by the caller. It keeps no trace of the observation.
        teacher: Put into eval mode and never changed otherwise; it follows the images' device.
            Give a copy with ``requires_grad`` off.
        losses: Added up by weight.
        labels: The loss on labels, added by ``label_weight``.
        label_weight: At least 0.
        shape: An input's ``(C, H, W)``.

    Yields:
        Objective, learned parts and notes.

    Raises:
        InputError: A loss that does not exist, options or layer patterns that do not fit.
    """
    import torch
    from torch import nn

    example = torch.zeros(2, *shape)
    seen = survey(student, example), survey(teacher, example)
    plan = []
    for number, block in enumerate(losses):
        traits: Traits = blocks.load(block).TRAITS
        where = f"losses.{number}"
        plan.append((block, traits, choose(block.layers, traits, seen[1], seen[0], where=where)))
    wanted = [tie for _, _, ties in plan for tie in ties]
    with ExitStack() as stack:
        own, guide = (
            _Side(module, stack.enter_context(tap(module, paths, _heads(found))), found)
            for module, paths, found in (
                (student, {tie.student for tie in wanted}, seen[0]),
                (teacher, {tie.teacher for tie in wanted}, seen[1]),
            )
        )
        ready = [_ready(block, traits, ties, (own, guide), example) for block, traits, ties in plan]
        extra = nn.ModuleList(loss.term for loss in ready)
        notes = [note for loss in ready if (note := _note(loss))]
        yield Imitation(_objective(own, guide, ready, labels, label_weight), extra, notes)


def _heads(found: Survey) -> list[str]:
    return [found.classifier] if found.classifier else []


def _ready(
    block: LossBlock, traits: Traits, ties: list[Tie], sides: tuple[_Side, _Side], example: "Tensor"
) -> _Loss:
    """Build a loss from the shapes of a dry run."""
    import torch

    own, guide = sides
    sizes = [_smaller(own.seen.shapes[t.student], guide.seen.shapes[t.teacher]) for t in ties]
    with torch.no_grad():
        dry = [
            side.views(example, side.module.eval()(example), paths, sizes)
            for side, paths in (
                (own, [tie.student for tie in ties]),
                (guide, [tie.teacher for tie in ties]),
            )
        ]
    term: Term = blocks.load(block).build(blocks.options(block), *dry)
    weight = traits.weight if block.weight is None else block.weight
    return _Loss(block, traits, weight, ties, sizes, term)


def _smaller(left: Sequence[int], right: Sequence[int]) -> _Size:
    """Return the smaller height and width of two maps; none where one is a vector."""
    if len(left) != _MAP or len(right) != _MAP:
        return None
    return min(left[2], right[2]), min(left[3], right[3])


def _note(loss: _Loss) -> str:
    if not loss.ties:
        return ""
    how = "tied by the recipe" if loss.block.layers else "tied by their spatial size"
    return f"{loss.block.name}: {', '.join(map(str, loss.ties))} ({how})"


def _objective(
    own: _Side, guide: _Side, losses: Sequence[_Loss], labels_loss: "Objective", label_weight: float
) -> "Objective":
    def objective(images: "Tensor", outputs: "Tensor", labels: "Tensor") -> "Tensor":
        import torch

        guide.module.to(images.device)  # does nothing but the first time
        with torch.no_grad():
            goal = guide.module(images)
        total = label_weight * labels_loss(images, outputs, labels)
        classes = labels if labels.ndim == 1 else labels.argmax(1)  # of mixed images
        with torch.autocast(images.device.type, enabled=False):
            passes = _Pass(own, images, outputs), _Pass(guide, images, goal)
            for loss in losses:
                total = total + loss.value(*passes, classes)
        own.kept.clear()
        guide.kept.clear()
        return total

    return objective
