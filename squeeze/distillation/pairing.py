"""Which layers of teacher and student are compared: named by patterns, or paired by their size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from squeeze.core import patterns
from squeeze.core.errors import InputError
from squeeze.distillation.taps import tap
from squeeze.recipe.schema import LayerPatterns

if TYPE_CHECKING:
    from torch import Tensor, nn

    from squeeze.distillation.traits import Traits

_MAP, _VECTOR = 4, 2
_SHOWN = 4


@dataclass(frozen=True)
class LayerOutputs:
    """What a dry run of a model returned.

    Attributes:
        shapes: Output shape of every submodule that returns a tensor, in order of completion.
        layers: All submodules, run or not: path to class name.
        classes: Number of logits.
        classifier: Path of the last linear layer with as many outputs as there are classes.
    """

    shapes: dict[str, tuple[int, ...]]
    layers: dict[str, str]
    classes: int
    classifier: str | None


@dataclass(frozen=True)
class LayerPair:
    """Two layers, by module path."""

    teacher: str
    student: str

    def __str__(self) -> str:
        return self.teacher if self.teacher == self.student else f"{self.teacher}~{self.student}"


def layer_outputs(module: "nn.Module", example: "Tensor") -> LayerOutputs:
    """Run a model once in eval mode and note what its submodules return.

    Args:
        module: Left in eval mode.
        example: A batch ``(N, C, H, W)``.
    """
    import torch
    from torch import nn

    named = dict(module.named_modules())
    paths = [path for path in named if path]
    with torch.no_grad(), tap(module.eval(), paths) as kept:
        outputs = module(example)
    logits = outputs if torch.is_tensor(outputs) else outputs[0]
    shapes = {path: tuple(tensor.shape) for path, tensor in kept.outputs.items()}
    linear = [
        path
        for path, shape in shapes.items()
        if isinstance(named[path], nn.Linear) and shape == tuple(logits.shape)
    ]
    classifier = linear[-1] if linear else None
    return LayerOutputs(shapes, patterns.layers_of(module), logits.shape[-1], classifier)


def named(
    layers: Sequence[LayerPatterns],
    teacher: LayerOutputs,
    student: LayerOutputs,
    *,
    where: str,
    vectors: bool,
) -> list[LayerPair]:
    """Return the pairs that patterns name, in order of the forward pass.

    Args:
        layers: Pairs of patterns; the outputs of the modules that they name are compared.
        teacher: The teacher's dry run.
        student: The student's dry run.
        where: The place in the recipe.
        vectors: Whether outputs ``(N, D)`` are accepted besides feature maps.

    Raises:
        InputError: A pattern matches nothing or layers without a feature map, or the two sides
            match different numbers of layers.
    """
    pairs = []
    for number, layer in enumerate(layers):
        place = f"{where}.layers.{number}"
        left = _matching(layer.teacher, teacher, f"{place}.teacher", vectors=vectors)
        right = _matching(layer.student, student, f"{place}.student", vectors=vectors)
        if len(left) != len(right):
            raise InputError(
                f"'{layer.teacher}' matches {len(left)} layers of the teacher ({_few(left)}) and "
                f"'{layer.student}' {len(right)} of the student ({_few(right)})",
                where=place,
                hint="write patterns that match the same number of layers",
            )
        pairs += [LayerPair(t, s) for t, s in zip(left, right, strict=True)]
    return pairs


def _matching(pattern: str, model: LayerOutputs, where: str, *, vectors: bool) -> list[str]:
    every = patterns.matching(model.layers, pattern, where=where)
    kinds = (_MAP, _VECTOR) if vectors else (_MAP,)
    fitting = [p for p in model.shapes if p in every and len(model.shapes[p]) in kinds]
    if not fitting:
        shape = model.shapes.get(every[0])
        raise InputError(
            f"'{pattern}' matches {_few(every)}, which returns "
            f"{shape or 'no tensor'}, expected a feature map (N, C, H, W)"
            + (" or a vector (N, D)" if vectors else ""),
            where=where,
        )
    return fitting


def _few(paths: Sequence[str]) -> str:
    return ", ".join(paths[:_SHOWN]) + (", …" if len(paths) > _SHOWN else "")


def suggest(teacher: LayerOutputs, student: LayerOutputs) -> list[LayerPair]:
    """Pair the last feature maps of every spatial stage, shallow to deep.

    Stages of the same size ``(H, W)`` belong together; where the models have no size in common,
    the deepest is paired with the deepest, and so on upward.
    """
    left, right = _stages(teacher), _stages(student)
    shared = [size for size in left if size in right]
    if shared:
        return [LayerPair(left[size], right[size]) for size in shared]
    pairs = zip(reversed(left.values()), reversed(right.values()), strict=False)
    return [LayerPair(t, s) for t, s in pairs][::-1]


def _stages(model: LayerOutputs) -> dict[tuple[int, ...], str]:
    """Return the last layer of each spatial size, largest size first; 1x1 is not a stage.

    Only layers up to the smallest depth of nesting that shows every size are looked at: deeper
    ones are the inside of blocks, such as an expansion before a stride.
    """
    maps = {p: s[2:] for p, s in model.shapes.items() if len(s) == _MAP and s[2] * s[3] > 1}
    last: dict[tuple[int, ...], str] = {}
    for depth in sorted({path.count(".") for path in maps}):
        last = {size: path for path, size in maps.items() if path.count(".") <= depth}
        if len(last) == len(set(maps.values())):
            break
    return dict(sorted(last.items(), key=lambda item: -item[0][0] * item[0][1]))


def choose(
    layers: Sequence[LayerPatterns] | None,
    traits: "Traits",
    teacher: LayerOutputs,
    student: LayerOutputs,
    *,
    where: str,
) -> list[LayerPair]:
    """Return a loss's pairs; none for one that compares logits or the classifiers' inputs.

    Raises:
        InputError: Patterns that do not fit, or fewer or more pairs than the loss takes.
    """
    if traits.needs == "logits":
        return []
    vectors = traits.needs == "vectors"
    if layers:
        pairs = named(layers, teacher, student, where=where, vectors=vectors)
    elif vectors and teacher.classifier and student.classifier:
        return []
    else:
        pairs = suggest(teacher, student)
        chosen = {"all": slice(None), "middle": slice(len(pairs) // 2, len(pairs) // 2 + 1)}
        pairs = pairs[chosen.get("last" if vectors else traits.levels, slice(-1, None))]
    if len(pairs) < traits.min_layers:
        raise InputError(
            f"needs {traits.min_layers} layer pair{'s' * (traits.min_layers > 1)}, found "
            f"{len(pairs)}" + (f" ({', '.join(map(str, pairs))})" if pairs else ""),
            where=where,
            hint="name them with layers: [{teacher: PATTERN, student: PATTERN}]",
        )
    if traits.max_layers is not None and len(pairs) > traits.max_layers:
        raise InputError(
            f"takes at most {traits.max_layers} layer pair{'s' * (traits.max_layers > 1)}, found "
            f"{len(pairs)} ({_few(list(map(str, pairs)))})",
            where=where,
            hint="name fewer with layers: [{teacher: PATTERN, student: PATTERN}]",
        )
    return pairs
