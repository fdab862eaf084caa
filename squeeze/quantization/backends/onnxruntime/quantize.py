"""Quantize an ONNX file with ONNX Runtime's quantizer."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from squeeze.core.errors import SqueezeError, cause_of
from squeeze.core.output import redirect_output
from squeeze.quantization import isolate
from squeeze.quantization.backends.onnxruntime import (
    float_file,
    kernels,
    observing,
    operators,
    rewriting,
    weights,
)
from squeeze.quantization.request import FileFacts, QuantizedFile, Request
from squeeze.runtimes.onnxruntime.session import try_run
from squeeze.store import new_file, scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from squeeze.core.cpu import Cpu
    from squeeze.recipe.schema import Quantization

_Note = TypeVar("_Note")
_UNCALIBRATED = {"dynamic_int8", "weight_only_int8", "fp16"}


def quantize(request: Request) -> QuantizedFile:
    """Write the ``.onnx`` of the step's scheme.

    Memory does not grow with the number of calibration samples.

    Raises:
        InputError: The file is quantized already.
        SqueezeError: A tensor's values are NaN or infinite, or the quantizer fails.
    """
    bits, reason = kernels.weight_bits(request.step.weight_bits, request.cpu)
    try:
        with scratch(for_libraries=True) as folder, redirect_output(request.log):
            weights.refuse_quantized(request.source)
            if request.step.scheme in _UNCALIBRATED:
                return _uncalibrated(request, Path(folder), bits, reason)
            notes, facts = _quantize(request, Path(folder), bits)
    except (SqueezeError, OSError):
        raise
    except Exception as error:
        raise SqueezeError(
            f"ONNX Runtime's quantizer failed: {cause_of(error)}",
            where=str(request.source),
        ) from error
    if request.trained is not None:
        reason = f"{bits}-bit weights, as they were trained"
    return QuantizedFile(bits, (reason, *notes), facts=facts)


def bits(step: "Quantization", target: "Cpu") -> int:
    """Return how many bits weights are going to have on a processor."""
    if step.scheme == "weight_only_int8":  # products are computed in float, which cannot saturate
        return kernels.FULL
    return kernels.weight_bits(step.weight_bits, target)[0]


def _uncalibrated(request: Request, folder: Path, bits: int, reason: str) -> QuantizedFile:
    """Write a file of a scheme that needs no ranges."""
    scheme = request.step.scheme
    if scheme == "fp16":
        with new_file(request.destination) as inside:
            return QuantizedFile(16, (weights.half(request.source, inside),))
    prepared = folder / "prepared.onnx"
    _prepare(request.source, prepared)
    facts = _kept(request, prepared)
    kept = facts.kept
    if scheme == "dynamic_int8":
        note, facts = _shipped(
            request,
            prepared,
            facts,
            lambda path, unfit: weights.dynamic(prepared, path, [*kept, *unfit], bits=bits),
        )
        return QuantizedFile(bits, (reason, note), facts=facts)
    note, facts = _shipped(
        request,
        prepared,
        facts,
        lambda path, unfit: weights.weight_only(prepared, path, [*kept, *unfit]),
    )
    return QuantizedFile(kernels.FULL, (note,), facts=facts)


def _quantize(request: Request, folder: Path, bits: int) -> tuple[list[str], FileFacts]:
    """Write the file; return notes on it, and what was found out."""
    prepared, cache = folder / "prepared.onnx", folder / "ranges.json"
    _prepare(request.source, prepared)
    rewriting.scale_(prepared)
    known = cast("tuple[dict[str, observing.Range], str] | None", request.known.ranges)
    ranges, note = known or observing.ranges(prepared, folder, request)
    if request.trained is not None:
        matched = request.trained.match(
            observing.values(prepared, list(ranges), request.trained.image)
        )
        ranges = ranges | matched.ranges
        note = matched.note
    observing.write(ranges, cache)
    facts = replace(_kept(request, prepared), ranges=(ranges, note))
    kept = facts.kept
    signed, why = kernels.signed_activations(request.cpu)
    reduced = bits == kernels.REDUCED

    def insert(path: Path, unfit: "Collection[str]") -> list[str]:
        names = [*kept, *unfit]
        return _insert_qdq(prepared, path, cache, names, reduced=reduced, signed=signed)

    notes, facts = _shipped(request, prepared, facts, insert)
    return [why, note, *notes], facts


def _shipped(
    request: Request,
    prepared: Path,
    facts: FileFacts,
    write: "Callable[[Path, Collection[str]], _Note]",
) -> "tuple[_Note, FileFacts]":
    """Make the file and run it once; what fails in int8 stays float.

    Args:
        request: Where the file goes.
        prepared: The float file.
        facts: What is known of it; they come back with what failed.
        write: Makes the file with these operators in float, and returns notes on it.
    """
    made = prepared.with_name("made.onnx")

    def attempt(unfit: "Collection[str]") -> "_Note":
        note = write(made, unfit)
        try_run(made)
        return note

    kinds = {each.name: each.kind for each in float_file.operators(prepared) if each.name}
    note, unfit = isolate.without_failing(attempt, kinds, request.known.unfit, who="ONNX Runtime")
    with new_file(request.destination) as inside:
        shutil.copyfile(made, inside)
    return note, replace(facts, kept={**facts.kept, **unfit}, unfit=unfit)


def _prepare(source: Path, prepared: Path) -> None:
    """Infer shapes, fold batch norms and pool, so that ranges are those of the graph that runs."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    rewriting.pool_(prepared)


def _kept(request: Request, prepared: Path) -> FileFacts:
    """Return which nodes stay float, and what the nodes compute."""
    keep, computed = request.keep_float, request.known.computed
    # training has simulated the one range of what is joined
    kept = {} if request.trained else float_file.joins(prepared) | float_file.proposals(prepared)
    kept |= operators.clips_beside_zero(prepared)
    if keep is not None:
        pinned, computed = keep.of_file(
            float_file.operators(prepared), float_file.values(prepared, keep.images)
        )
        kept |= pinned
    return FileFacts(computed=computed, kept=kept)


def _insert_qdq(
    prepared: Path, destination: Path, cache: Path, kept: list[str], *, reduced: bool, signed: bool
) -> list[str]:
    """Write the int8 file; return notes on which operators are quantized."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    choice = operators.choose(prepared)
    quantize_static(
        str(prepared),
        str(destination),
        None,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=choice.types,
        per_channel=True,
        reduce_range=reduced,
        activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=kept,
        calibration_cache_path=cache,
        extra_options=choice.options,
    )
    float_file.hold_apart_(destination, kept)
    rewriting.gate_(destination)
    return [choice.note] if choice.note else []
