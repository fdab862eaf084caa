"""Turn loss blocks into an objective for the training loop: taps, layer pairs, learned parts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from squeeze.core.errors import InputError
from squeeze.distillation.pairing import LayerOutputs, LayerPair, choose, layer_outputs
from squeeze.distillation.taps import TappedTensors, tap
from squeeze.distillation.teacher_cache import TeacherCache
from squeeze.distillation.traits import Traits, Views
from squeeze.recipe import losses as blocks
from squeeze.recipe.schema import LossBlock

if TYPE_CHECKING:
    from torch import Tensor, nn

    from squeeze.distillation.parts import Term
    from squeeze.tasks.base import Labels, ModuleOutputs
    from squeeze.training.objective import Objective

_MAP = 4
_OUTPUT = "output"


@dataclass(frozen=True)
class Imitation:
    """What the training loop is given to let a student imitate a teacher.

    Attributes:
        objective: Weighted sum of the losses.
        extra: The losses' learned parts, trained along with the student and discarded.
        notes: Which layers are compared.
        cache: The cache of the teacher's outputs, if there is one.
    """

    objective: "Objective"
    extra: "nn.Module"
    notes: list[str]
    cache: TeacherCache | None = None

    def summary(self) -> list[str]:
        """Return the notes and, after the training, how many forward passes the cache saved."""
        found = self.cache
        if found is None or not found.hits:
            return self.notes
        share = found.hits / (found.hits + found.misses)
        return [*self.notes, f"teacher outputs cached: {share:.0%} of its forward passes saved"]


@dataclass(frozen=True)
class _Side:
    """One of the two models under observation."""

    module: "nn.Module"
    kept: TappedTensors
    seen: LayerOutputs

    def views(
        self,
        images: "Tensor",
        outputs: "ModuleOutputs",
        paths: Sequence[str],
        sizes: "Sequence[_Size]",
    ) -> Views:
        """Return what one loss is given of the last forward pass."""
        from torch.nn.functional import adaptive_avg_pool2d

        seen = [self.kept.outputs[path].float() for path in paths]
        several = tuple(x.float() for x in outputs) if isinstance(outputs, tuple | list) else ()
        vectors = [x.mean((2, 3)) if x.ndim == _MAP else x for x in seen]
        maps = [
            x if size is None or tuple(x.shape[2:]) == size else adaptive_avg_pool2d(x, size)
            for x, size in zip(seen, sizes, strict=True)
        ]
        if not paths and self.seen.classifier is not None:
            vectors = [self.kept.inputs[self.seen.classifier].float()]
        return Views(
            images=images,
            logits=outputs[0].float() if isinstance(outputs, tuple | list) else outputs.float(),
            maps=tuple(maps),
            vectors=tuple(vectors),
            look=lambda other: self.views(other, self.module(other), paths, sizes),
            classifier=self._classifier(),
            outputs=several,
            detector=getattr(self.module, "detector", None),
        )

    def _classifier(self) -> "Callable[[Tensor], Tensor] | None":
        path = self.seen.classifier
        return None if path is None else self.module.get_submodule(path)


_Size = tuple[int, int] | None


@dataclass(frozen=True)
class _Pass:
    """A forward pass of one model."""

    side: _Side
    images: "Tensor"
    outputs: "ModuleOutputs"


@dataclass(frozen=True)
class _Plan:
    """A loss block with its layers.

    Attributes:
        traits: What the loss needs.
        pairs: Layers that it compares; none where it takes logits or the classifiers' inputs.
        sizes: To what height and width both maps of a pair are pooled.
    """

    block: LossBlock
    traits: Traits
    pairs: list[LayerPair]
    sizes: list[_Size]

    def views(self, student: _Pass, teacher: _Pass) -> tuple[Views, Views]:
        """Return what the loss is given of two forward passes."""
        paths = [pair.student for pair in self.pairs], [pair.teacher for pair in self.pairs]
        own, goal = (
            run.side.views(run.images, run.outputs, side, self.sizes)
            for run, side in zip((student, teacher), paths, strict=True)
        )
        return own, goal


@dataclass(frozen=True)
class _Loss:
    """A loss that is ready to be computed."""

    plan: _Plan
    weight: float
    term: "Term"

    def value(self, student: Views, teacher: Views, labels: "Labels") -> "Tensor":
        """Return the weighted loss of a batch."""
        if len(labels) < self.plan.traits.min_batch:
            raise InputError(blocks.too_few(self.plan.block.name, len(labels)), where="batch_size")
        value: Tensor = self.term(student, teacher, labels)
        return self.weight * value


@contextmanager
def imitating(
    student: "nn.Module",
    teacher: "nn.Module",
    losses: Sequence[LossBlock],
    *,
    labels: "Objective",
    label_weight: float,
    shape: Sequence[int],
    cache: TeacherCache | None = None,
) -> Iterator[Imitation]:
    """Observe two models within the block, and give the training loop an objective.

    Args:
        student: Trained by the caller. The hooks on it are removed afterwards.
        teacher: Put into eval mode and moved to the images' device; give a copy with
            ``requires_grad`` off.
        losses: Added up by weight.
        labels: The loss on labels, added by ``label_weight``.
        label_weight: At least 0.
        shape: An input's ``(C, H, W)``.
        cache: Caches the teacher's outputs; None computes them every time.

    Yields:
        Objective, learned parts and notes.

    Raises:
        InputError: A loss that does not exist, options or layer patterns that do not fit.
    """
    import torch
    from torch import nn

    example = torch.zeros(2, *shape)
    seen = layer_outputs(student, example), layer_outputs(teacher, example)
    planned = [_planned(number, block, *seen) for number, block in enumerate(losses)]
    pairs = [pair for plan in planned for pair in plan.pairs]
    with (
        _observed(student, {pair.student for pair in pairs}, seen[0]) as own,
        _observed(teacher, {pair.teacher for pair in pairs}, seen[1]) as guide,
    ):
        sides = own, guide
        ready = [_ready(plan, sides, example) for plan in planned]
        objective = _objective(sides, ready, (labels, label_weight), _teaching(guide, cache))
        notes = [note for plan in planned if (note := _note(plan))]
        yield Imitation(objective, nn.ModuleList(loss.term for loss in ready), notes, cache)


def _planned(number: int, block: LossBlock, student: LayerOutputs, teacher: LayerOutputs) -> _Plan:
    """Return a loss block with the layers that it compares."""
    traits: Traits = blocks.load(block).TRAITS
    pairs = choose(block.layers, traits, teacher, student, where=f"losses.{number}")
    sizes = [_smaller(student.shapes[p.student], teacher.shapes[p.teacher]) for p in pairs]
    return _Plan(block, traits, pairs, sizes)


@contextmanager
def _observed(module: "nn.Module", paths: set[str], seen: LayerOutputs) -> "Iterator[_Side]":
    """Keep the outputs of these layers, and the classifier's input, for the block's duration."""
    with tap(module, paths, [seen.classifier] if seen.classifier else []) as kept:
        yield _Side(module, kept, seen)


def _ready(plan: _Plan, sides: tuple[_Side, _Side], example: "Tensor") -> _Loss:
    """Build a loss from the shapes of a dry run."""
    import torch

    with torch.no_grad():
        passes = [_Pass(side, example, side.module.eval()(example)) for side in sides]
    term: Term = blocks.load(plan.block).build(
        blocks.read_options(plan.block), *plan.views(*passes)
    )
    weight = plan.traits.weight if plan.block.weight is None else plan.block.weight
    return _Loss(plan, weight, term)


def _smaller(left: Sequence[int], right: Sequence[int]) -> _Size:
    """Return the smaller height and width of two maps; none where one is a vector."""
    if len(left) != _MAP or len(right) != _MAP:
        return None
    return min(left[2], right[2]), min(left[3], right[3])


def _note(plan: _Plan) -> str:
    if not plan.pairs:
        return ""
    how = "paired by the recipe" if plan.block.layers else "paired by spatial size"
    return f"{plan.block.name}: {', '.join(map(str, plan.pairs))} ({how})"


def _teaching(guide: _Side, cache: TeacherCache | None) -> "Callable[[Tensor], ModuleOutputs]":
    """Return a function that gives the teacher's outputs and leaves its maps in ``guide.kept``."""
    if cache is None:
        return guide.module

    def compute(images: "Tensor") -> "dict[str, Tensor]":
        import torch

        given = guide.module(images)
        parts = (given,) if torch.is_tensor(given) else given
        found = {f"{_OUTPUT}/{number}": part for number, part in enumerate(parts)}
        found |= {f"outputs/{path}": tensor for path, tensor in guide.kept.outputs.items()}
        return found | {f"inputs/{path}": tensor for path, tensor in guide.kept.inputs.items()}

    def outputs_of(images: "Tensor") -> "ModuleOutputs":
        found = cache.take(images, compute)
        parts = []
        for name, tensor in found.items():
            kind, _, path = name.partition("/")
            if kind == _OUTPUT:
                parts.append(tensor)
            else:
                getattr(guide.kept, kind)[path] = tensor
        return parts[0] if len(parts) == 1 else tuple(parts)

    return outputs_of


def _objective(
    sides: tuple[_Side, _Side],
    losses: Sequence[_Loss],
    labels: "tuple[Objective, float]",
    outputs_of: "Callable[[Tensor], ModuleOutputs]",
) -> "Objective":
    (own, guide), (labels_loss, label_weight) = sides, labels

    def objective(images: "Tensor", outputs: "ModuleOutputs", labels: "Labels") -> "Tensor":
        import torch

        guide.module.to(images.device)  # does nothing after the first time
        with torch.no_grad():
            goal = outputs_of(images)
        total = label_weight * labels_loss(images, outputs, labels)
        classes = labels
        if torch.is_tensor(labels) and labels.ndim > 1:  # of mixed images
            classes = labels.argmax(1)
        with torch.autocast(images.device.type, enabled=False):
            passes = _Pass(own, images, outputs), _Pass(guide, images, goal)
            # before a loss runs a model once more
            views = [loss.plan.views(*passes) for loss in losses]
            for loss, seen in zip(losses, views, strict=True):
                total = total + loss.value(*seen, classes)
        own.kept.clear()
        guide.kept.clear()
        return total

    return objective
