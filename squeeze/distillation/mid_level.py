"""torchdistill's losses, called with plain tensors.

Its loss modules look tensors up in nested dictionaries ``{module path: {'output': tensor}}``, by
paths given to their constructors. That convention ends in this file. None of its hooks, boxes or
configuration files are used. Tensors are made contiguous first, since some losses call ``view``.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    Seen = Tensor | tuple[Tensor, ...]
    Pair = Callable[[Seen, Tensor], Tensor]
    Pairs = Callable[[Sequence[Seen], Sequence[Tensor]], Tensor]

_PATH = "layer"


def _make(name: str, arguments: Mapping[str, object]) -> "nn.Module":
    from torchdistill.losses import mid_level

    made: nn.Module = getattr(mid_level, name)(**arguments)
    return made


def _io(*tensors: "Seen", path: str = _PATH) -> dict[str, dict[str, object]]:
    """Return tensors under the paths ``layer``, or ``layer0``, ``layer1``, … for several."""
    if len(tensors) == 1:
        return {path: {"output": _contiguous(tensors[0])}}
    return {f"{path}{n}": {"output": _contiguous(t)} for n, t in enumerate(tensors)}


def _contiguous(value: "Seen") -> "Seen":
    if isinstance(value, tuple):
        return tuple(each.contiguous() for each in value)
    return value.contiguous()


def single(name: str, options: Mapping[str, object]) -> "Pair":
    """Return a torchdistill loss of one student tensor and one teacher tensor.

    Args:
        name: A class of ``torchdistill.losses.mid_level`` that looks at one layer.
        options: Its arguments, without the paths.
    """
    from torchdistill.losses import mid_level

    wanted = inspect.signature(getattr(mid_level, name)).parameters
    paths = {key: _PATH for key in wanted if key.endswith("_path")}
    ios = {key: "output" for key in wanted if key.endswith("_io")}
    loss = _make(name, paths | ios | dict(options))

    def compute(student: "Seen", teacher: "Tensor") -> "Tensor":
        value: Tensor = loss(_io(student), _io(teacher))
        return value

    return compute


def several(name: str, count: int, options: Mapping[str, object]) -> "Pairs":
    """Return a torchdistill loss summed over pairs of layers (``feature_pairs``, ``at_pairs``).

    Args:
        name: A class of ``torchdistill.losses.mid_level``.
        count: How many pairs.
        options: Its arguments, without the pairs.
    """
    from torchdistill.losses import mid_level

    wanted = inspect.signature(getattr(mid_level, name)).parameters
    key = next(key for key in wanted if key.endswith("_pairs"))
    numbers = [""] if count == 1 else [str(n) for n in range(count)]
    layer = {n: {"io": "output", "path": f"{_PATH}{n}"} for n in numbers}
    loss = _make(
        name,
        {key: {n: {"student": layer[n], "teacher": layer[n]} for n in numbers}} | dict(options),
    )

    def compute(students: "Sequence[Seen]", teachers: "Sequence[Tensor]") -> "Tensor":
        value: Tensor = loss(_io(*students), _io(*teachers))
        return value

    return compute


def flow(count: int) -> "Pairs":
    """Return ``FSPLoss`` over consecutive layers of ``count`` (at least 2)."""
    layer = [{"io": "output", "path": f"{_PATH}{n}"} for n in range(count)]
    pairs = {
        str(n): {
            "student_first": layer[n],
            "student_second": layer[n + 1],
            "teacher_first": layer[n],
            "teacher_second": layer[n + 1],
        }
        for n in range(count - 1)
    }
    loss = _make("FSPLoss", {"fsp_pairs": pairs})

    def compute(students: "Sequence[Seen]", teachers: "Sequence[Tensor]") -> "Tensor":
        value: Tensor = loss(_io(*students), _io(*teachers))
        return value

    return compute


def prime_aware(eps: float) -> "Callable[[Tensor, Tensor, Tensor], Tensor]":
    """Return ``PADL2Loss`` of student vectors, log variances and teacher vectors."""
    loss = _make(
        "PADL2Loss",
        {
            "student_embed_module_path": _PATH,
            "teacher_embed_module_path": _PATH,
            "module_path": "variance",
            "eps": eps,
        },
    )

    def compute(student: "Tensor", log_variance: "Tensor", teacher: "Tensor") -> "Tensor":
        value: Tensor = loss(_io(student) | _io(log_variance, path="variance"), _io(teacher))
        return value

    return compute


def contrast(width: int, bank: int, negatives: int, temperature: float) -> "nn.Module":
    """Return ``CRDLoss``; its buffers hold the bank. Call it through :func:`contrast_value`.

    Its own draw of negatives reads an attribute that it does not have, so indices are passed in.
    """
    return _make(
        "CRDLoss",
        {
            "student_norm_module_path": _PATH,
            "student_empty_module_path": "indices",
            "teacher_norm_module_path": _PATH,
            "input_size": width,
            "output_size": bank,
            "num_negative_samples": negatives,
            "num_samples": bank,
            "temperature": temperature,
            "momentum": 0.0,  # a slot of the bank is not the same sample each time
        },
    )


def contrast_value(
    loss: "nn.Module",
    student: "Tensor",
    teacher: "Tensor",
    slots: "Tensor",
    candidates: "Tensor",
) -> "Tensor":
    """Return the scalar of ``CRDLoss``.

    Args:
        loss: From :func:`contrast`.
        student: Unit vectors ``(N, width)``.
        teacher: The same of the teacher.
        slots: Where the samples lie in the bank, ``(N,)``.
        candidates: Slots ``(N, 1 + negatives)``, the sample's own first.
    """
    # these two are no buffers, so that moving the module leaves them behind
    loss.probs, loss.alias = loss.probs.to(student.device), loss.alias.to(student.device)
    seen = _io(student) | {"indices": {"input": {"pos_idx": slots, "contrast_idx": candidates}}}
    value: Tensor = loss(seen, _io(teacher))
    return value.sum()


def self_supervised(
    *, temperature: float, similarity_temperature: float, keep: float, weights: Sequence[float]
) -> "Callable[..., Tensor]":
    """Return ``SSKDLoss`` of (student logits, its embeddings, the teacher's two, labels).

    All hold four rows per sample: the image and its three rotations. ``weights`` are those of
    the soft labels, the similarities and the rotated images' soft labels.
    """
    paths = {
        f"{who}_{what}_module_path": path
        for who in ("student", "teacher")
        for what, path in (("linear", "layer0"), ("ss", "layer1"))
    }
    loss = _make(
        "SSKDLoss",
        paths
        | {
            "kl_temp": temperature,
            "ss_temp": similarity_temperature,
            "tf_temp": temperature,
            "ss_ratio": keep,
            "tf_ratio": 1.0,
            "loss_weights": [0.0, *weights],
        },
    )

    def compute(
        logits: "Tensor",
        embedding: "Tensor",
        goal: "Tensor",
        goal_embedding: "Tensor",
        labels: "Tensor",
    ) -> "Tensor":
        value: Tensor = loss(_io(logits, embedding), _io(goal, goal_embedding), labels)
        return value

    return compute


def auxiliary() -> "Callable[[Tensor], Tensor]":
    """Return ``AuxSSKDLoss``, which trains the teacher's self-supervised head."""
    loss = _make("AuxSSKDLoss", {"module_path": _PATH})

    def compute(embedding: "Tensor") -> "Tensor":
        value: Tensor = loss({}, _io(embedding))
        return value

    return compute


def bank_of(loss: "nn.Module", who: str) -> "Tensor":
    """Return the bank ``(size, width)`` of ``student`` or ``teacher`` inside :func:`contrast`."""
    return loss.get_buffer({"student": "memory_v1", "teacher": "memory_v2"}[who])
