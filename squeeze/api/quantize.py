"""``squeeze.quantize``."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.api import files
from squeeze.api.data import given_data
from squeeze.api.inputs import block_of, classes_of, model_of
from squeeze.api.progress import chosen
from squeeze.api.quantized_files import MadeFile, after_training, target_of, with_training
from squeeze.api.results import QuantizeResult
from squeeze.api.training import Sets, task_of, training
from squeeze.core.errors import InputError
from squeeze.data import checks
from squeeze.quantization.mixed_precision.step import FloatLayers
from squeeze.recipe import schemes
from squeeze.recipe.schema import QatStep, QuantizeStep

if TYPE_CHECKING:
    from squeeze.api.data import DataLike, GivenData
    from squeeze.api.inputs import Example, ModelLike
    from squeeze.core.types import Progress
    from squeeze.models.types import Model
    from squeeze.recipe.schema import Quantization, Target


def quantize(
    model: "ModelLike",
    example: "Example | None" = None,
    *,
    calibration: "DataLike | None" = None,
    samples: int = 128,
    runtime: str = "onnxruntime",
    scheme: str | None = None,
    settings: Mapping[str, object] | None = None,
    data: "DataLike | None" = None,
    validation: "DataLike | None" = None,
    cpu: str = "host",
    output: str | Path | None = None,
    name: str | None = None,
    seed: int = 0,
    progress: "Progress | bool | None" = None,
) -> QuantizeResult:
    """Write a model as a quantized file for a runtime.

    Args:
        model: A float module in eval mode, a result, or a bundle's folder; it stays as it is.
        example: Images ``(N, C, H, W)``, a shape ``(C, H, W)`` or an ``InputSpec``; needed where
            neither the model nor ``calibration`` tells the input.
        calibration: Images that set the ranges of activations; labels are not looked at, and a
            loader may yield images alone. Not validation images: the accuracy measured on them
            would be too good. ``fp16`` does without.
        samples: At most so many of them, drawn by the seed; 100 or more are advisable.
        runtime: ``onnxruntime`` or ``litert``.
        scheme: ``static_int8`` when left out; ``dynamic_int8``, ``weight_only_int8``,
            ``static_int8_int16`` (LiteRT), ``fp16``, or ``qat_int8``, which trains first.
        settings: Any other key of a recipe's quantize step, ``{"keep_float": ["conv1"]}`` or
            ``{"mixed_precision": {"max_drop": 0.01}}`` for example; ``qat_int8`` needs
            ``{"epochs": …}``.
        data: Labelled images that ``qat_int8`` learns from, and that mixed precision measures on.
        validation: Labelled images that ``qat_int8`` watches, and never learns from.
        cpu: The processor that will serve the file, such as ``arm64``; it decides how int8 weights
            are made. ``host`` is this machine's.
        output: A folder. Left out, the file is removed with the result.
        name: Of the file, without its suffix; the scheme when left out.
        seed: Of the draw of samples.
        progress: True, False, an object of your own, or None: shown in terminals and notebooks.

    Returns:
        The file, which kernels run it, and what was done for its accuracy.

    Raises:
        InputError: Wrong use: no calibration data, a scheme that the runtime cannot hold, a module
            in training mode.
        SqueezeError: The model cannot be exported, or the quantizer fails.

    Example:
        >>> int8 = squeeze.quantize(model, calibration=train_loader, output="served")
        >>> squeeze.evaluate(int8, data=val_loader).accuracy.top1.value
        0.971
    """
    trains = scheme == "qat_int8"
    step = block_of(QatStep if trains else QuantizeStep, {"scheme": scheme}, settings, "quantize")
    target = target_of(runtime, cpu, step)
    shown, read = chosen(progress), _calibration(calibration, samples, step)
    float_model = model_of(model, example, shape=None if read is None else read.shape)
    split = None
    if read is not None:
        classes = classes_of(float_model)
        drawn = read.split(float_model.input, classes, shown, samples=samples, seed=seed)
        split = checks.enough(drawn)
    sets = None
    if data is not None or trains:
        sets = Sets.of(float_model, given_data(data, "train"), validation, seed, shown)
    folder = files.OutputFolder(output)
    path = folder.new(files.name_of(name or step.scheme, target.runtime, 1))
    learned = sets.train if sets else None
    layers = FloatLayers(step, "quantize", split, learned, task_of(float_model), seed)
    if sets is not None and trains:
        run_of = training(sets, "quantization-aware training")
        made = with_training(path, float_model, layers, target, run_of)
    else:
        made = after_training(path, float_model, layers, target, shown)
    return _result(path, made, float_model, layers, target, folder)


def _result(
    path: Path,
    made: MadeFile,
    float_model: "Model",
    layers: FloatLayers,
    target: "Target",
    folder: files.OutputFolder,
) -> QuantizeResult:
    scheme, split = layers.step.scheme, layers.calibration
    is_int8 = schemes.is_int8(schemes.SCHEMES[scheme].precision)
    return QuantizeResult(
        made.trained or float_model,
        (path,),
        target.runtime,
        scheme,
        path.stat().st_size,
        files.runtime_of(target.runtime).coverage(path) if is_int8 else None,
        (*made.notes, *made.outcome.notes, *(() if split is None else split.notes)),
        made.outcome.missed_goal,
        tuple(filter(None, [made.outcome.search])),
        made.epochs,
        folder,
    )


def _calibration(
    given: "DataLike | None", samples: int, step: "Quantization"
) -> "GivenData | None":
    """Return the images that set ranges; None where none are needed."""
    if given is not None:
        return given_data(given, "calibration", most=samples)
    autotunes = isinstance(step, QuantizeStep) and step.autotune is not None
    if schemes.SCHEMES[step.scheme].calibrates or autotunes:
        raise InputError(
            f"{step.scheme} needs images and none were given",
            where="calibration",
            hint="give a loader of training images: calibration=train_loader",
        )
    return None
