"""Quantize a LiteRT file with ai-edge-quantizer."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from squeeze.core.errors import InputError, SqueezeError, cause_of
from squeeze.core.output import redirect_output
from squeeze.quantization import isolate
from squeeze.quantization.backends.litert import float_file, observing
from squeeze.quantization.backends.litert.observing import CHANNELS
from squeeze.quantization.request import FileFacts, QuantizedFile, Request
from squeeze.runtimes.litert import graphs
from squeeze.runtimes.litert.session import try_run
from squeeze.store import new_file

if TYPE_CHECKING:
    from collections.abc import Collection

    from ai_edge_quantizer.quantizer import Quantizer
    from ai_edge_quantizer.recipe_manager import ModelQuantizationRecipe
    from numpy.typing import NDArray

    from squeeze.core.cpu import Cpu
    from squeeze.quantization.backends.litert.observing import Ends
    from squeeze.quantization.qat.matching import TrainedRanges
    from squeeze.recipe.schema import Quantization

_LARGEST = 127
_UNCALIBRATED = {
    "dynamic_int8": "weights are int8; ranges of activations are computed at run time",
    "weight_only_int8": "weights are int8; products are computed in float",
    "fp16": "weights of layers are fp16; products are computed in float32",
}
"""The notes on schemes that need no ranges."""


def quantize(request: Request) -> QuantizedFile:
    """Write the ``.tflite`` of the step's scheme; inputs and outputs stay as the file has them.

    Raises:
        InputError: The file is quantized already.
        SqueezeError: Activations are NaN or infinite, or the quantizer fails.
    """
    try:
        with redirect_output(request.log):
            note, facts = _quantize(request)
    except (SqueezeError, OSError):
        raise
    except Exception as error:
        raise SqueezeError(
            f"ai-edge-quantizer failed: {cause_of(error)}", where=str(request.source)
        ) from error
    return QuantizedFile(16 if request.step.scheme == "fp16" else 8, (note,), facts=facts)


def bits(step: "Quantization", target: "Cpu") -> int:
    """Return how many bits weights are going to have: 8, whatever the step asks of ONNX Runtime."""
    del step, target
    return 8


def _quantize(request: Request) -> tuple[str, FileFacts]:
    """Write the file; return a note on it, and what was found out."""
    _refuse_quantized(request.source)
    ranges, note = None, _UNCALIBRATED.get(request.step.scheme, "")
    if not note:
        known = cast("tuple[dict[str, Ends], str] | None", request.known.ranges)
        ranges, note = known or observing.ranges(_worker(request), request)
        if request.trained is not None:
            note = _take_trained_(ranges, request.source, request.trained)
    facts = _kept(request)
    kept = facts.kept
    scopes = float_file.scopes(request.source)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.tflite"

        def attempt(unfit: "Collection[str]") -> None:
            worker = _worker(request)
            for scope in [each for name in {*kept, *unfit} for each in scopes[name]]:
                worker.update_quantization_recipe(scope, "*", algorithm_key="no_quantize")
            made.unlink(missing_ok=True)  # the exporter refuses to overwrite
            worker.quantize(ranges).export_model(str(made))
            try_run(made)

        kinds = {each.name: each.kind for each in float_file.operators(request.source)}
        _, unfit = isolate.without_failing(attempt, kinds, request.known.unfit, who="LiteRT")
        with new_file(request.destination) as inside:
            shutil.copyfile(made, inside)
    found = None if ranges is None else (ranges, note)
    return note, replace(facts, ranges=found, kept={**kept, **unfit}, unfit=unfit)


def _worker(request: Request) -> "Quantizer":
    """Return the quantizer with the recipe of the scheme."""
    from ai_edge_quantizer import quantizer

    worker = quantizer.Quantizer(str(request.source))
    worker.load_quantization_recipe(_recipe(request.step.scheme))
    return worker


def _recipe(scheme: str) -> "ModelQuantizationRecipe":
    """Return the quantizer's recipe for a scheme."""
    from ai_edge_quantizer import qtyping, recipe, recipe_manager

    if scheme == "fp16":
        halves = recipe_manager.RecipeManager()
        halves.add_weight_only_config(
            ".*", qtyping.TFLOperationName.ALL_SUPPORTED, 16, algorithm_key="float_casting"
        )
        return halves.get_quantization_recipe()
    recipes = {
        "dynamic_int8": recipe.dynamic_wi8_afp32,
        "weight_only_int8": recipe.weight_only_wi8_afp32,
        "static_int8_int16": recipe.static_wi8_ai16,
    }
    return recipes.get(scheme, recipe.static_wi8_ai8)()


def _kept(request: Request) -> FileFacts:
    """Return which operators stay float because of what they do, and what they compute."""
    keep, computed = request.keep_float, request.known.computed
    # training has simulated the one range of what is joined
    kept = {} if request.trained else float_file.joins(request.source)
    if keep is not None:
        pinned, computed = keep.of_file(
            float_file.operators(request.source), float_file.values(request.source, keep.images)
        )
        kept |= pinned
    return FileFacts(computed=computed, kept=kept)


def _take_trained_(ranges: "dict[str, Ends]", path: Path, trained: "TrainedRanges") -> str:
    """Replace calibrated ranges by trained ones, and add those of the weights.

    Weights that were trained for 7 bits stay what they are: their range is what gives 8 bits the
    same step.
    """
    watched = observing.TensorReader(path)
    watched.run(trained.image)
    matched = trained.match(watched.first(ranges))
    for name, (low, high) in matched.ranges.items():
        shape = ranges[name]["min"].shape
        for end, value in (("min", low), ("max", high)):
            ranges[name][end] = np.full(shape, value, np.float32)
    for operator in watched.file._get_ops_details():  # noqa: SLF001  (there is no public way)
        if operator["op_name"] in CHANNELS:
            index = operator["inputs"][1]
            weight = watched.file.get_tensor(index)
            name = watched.file._get_tensor_details(index, 0)["name"]  # noqa: SLF001
            ranges[name] = _weight_range(weight, CHANNELS[operator["op_name"]], trained.largest)
    return matched.note


def _weight_range(weight: "NDArray[np.float32]", axis: int, largest: int) -> "Ends":
    """Return the range of each output channel with which 8 bits have the trained step."""
    others = tuple(other for other in range(weight.ndim) if other != axis)
    reach = np.abs(weight).max(axis=others, keepdims=True) * (_LARGEST / largest)
    return {"min": -reach, "max": reach}


def _refuse_quantized(path: Path) -> None:
    tensors = [tensor for graph in graphs.subgraphs(path) for tensor in graph.tensors]
    if any(tensor.is_quantized for tensor in tensors):
        found = "is already quantized"
    elif any(tensor.kind == "float16" for tensor in tensors):
        found = "is already half precision"
    else:
        return
    raise InputError(found, where=str(path), hint="start from the float model")
