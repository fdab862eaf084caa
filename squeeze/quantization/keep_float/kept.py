"""Which operators of an exported file stay float."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.errors import SqueezeError
from squeeze.quantization.keep_float import layers, matching

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from squeeze.data.splits import Split
    from squeeze.models.types import Model
    from squeeze.quantization.keep_float.layers import Operation
    from squeeze.quantization.keep_float.matching import FileOperator

Computed = Mapping[str, frozenset[str]]
"""Operator of a file to the operations of the module that it computes."""


@dataclass(frozen=True)
class KeepFloat:
    """The operations of a module that must stay float, to be looked up by a file's operators.

    Attributes:
        images: A batch ``(N, C, H, W)`` on which module and file are compared.
        operations: Of the module, on these images.
        kept: Operations that stay float, by name, each with the reason.
        required: Reasons for which a file must have an operator.
        computed: What the file's operators compute, where that is known already.
    """

    images: "NDArray[np.float32]"
    operations: "tuple[Operation, ...]"
    kept: Mapping[str, str]
    required: tuple[str, ...] = ()
    computed: Computed | None = None

    def of_file(
        self,
        operators: "Sequence[FileOperator]",
        values: "Iterable[tuple[str, NDArray[np.floating]]]",
    ) -> "tuple[dict[str, str], Computed]":
        """Return the file's operators that stay float with the reasons, and what all compute.

        Args:
            operators: Of the float file, in order of execution.
            values: Its float tensors on ``images``; not read where ``computed`` is known.

        Raises:
            SqueezeError: A layer that must stay float is not found in the file.
        """
        known = self.computed
        if known is None:
            known = matching.computed(self.operations, operators, values)
        found: dict[str, str] = {}
        for operator, names in known.items():
            reasons = [self.kept[name] for name in sorted(names) if name in self.kept]
            if reasons:
                found[operator] = reasons[0]
        missing = [reason for reason in self.required if reason not in found.values()]
        if missing:
            raise SqueezeError(
                f"no operator of the file computes the layers that are {missing[0]}",
                where="quantize",
                hint="name layers that compute something: files have no dropout and no identity",
            )
        return found, known

    def keeping(self, kept: Mapping[str, str], computed: Computed) -> "KeepFloat":
        """Return the same for a file that was looked at before, with other operations kept."""
        return replace(self, kept=dict(kept), required=(), computed=computed)


def reasons(module: "nn.Module", patterns: Sequence[str], *, where: str) -> dict[str, str]:
    """Return the paths of the layers that a recipe keeps in float, with the reasons.

    Args:
        module: As the user built it.
        patterns: Of module paths, or class names.
        where: The key that the patterns stand at.

    Raises:
        InputError: A pattern names no layer.
    """
    hits = layers.matching(module, patterns, where=where)
    return {path: f"kept in float by keep_float '{pattern}'" for path, pattern in hits.items()}


def keep_float(
    model: "Model",
    paths: Mapping[str, str],
    calibration: "Split",
    *,
    batch_size: int,
) -> KeepFloat:
    """Find the operations that belong to the layers that stay float.

    Args:
        model: What the float file is exported from.
        paths: Layers that stay float, with what they are inside of included, and the reasons.
        calibration: Its first image is what module and file are compared on.
        batch_size: Of the file, where it holds one.

    Raises:
        SqueezeError: The model cannot be traced.
    """
    image, _ = calibration.batch([0])
    images = np.repeat(image, batch_size, axis=0)
    operations = layers.operations(model.module, images)
    kept: dict[str, str] = {}
    for operation in operations:
        reason = next((paths[path] for path in operation.layers if path in paths), None)
        if reason is not None and operation.inputs:
            kept[operation.name] = reason
    return KeepFloat(images, tuple(operations), kept, tuple(dict.fromkeys(paths.values())))
