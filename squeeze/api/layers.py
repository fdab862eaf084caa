"""Compare a quantized file with its float file, layer by layer."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.api.file_input import IN_PYTHON, Wording
from squeeze.api.served import NOTHING, ServedFile, exported, served
from squeeze.core.errors import InputError
from squeeze.exporting.description import described
from squeeze.measure import layers

if TYPE_CHECKING:
    from squeeze.api.data import GivenData
    from squeeze.core.types import Progress
    from squeeze.measure.layers import Compared


def fed_alike(
    reference: Path,
    quantized: Path,
    given: Mapping[str, object] = NOTHING,
    wording: Wording = IN_PYTHON,
) -> ServedFile:
    """Return what both files are fed: what either file's description says.

    Args:
        reference: The float file.
        quantized: The file that was quantized from it.
        given: Keys of the input, and the ``layout``; a shape makes descriptions unnecessary.
        wording: How errors are worded.

    Raises:
        InputError: Files of two kinds, or one that does not run on the input.
    """
    if reference.suffix != quantized.suffix:
        raise InputError(
            f"cannot be compared with {quantized.name}: give two .onnx or two .tflite files",
            where=str(reference),
        )
    pair = (reference, quantized)
    for path in pair:
        exported(path)
    known = next((path for path in pair if _is_described(path, wording)), reference)
    file = served(reference if "shape" in given else known, given, wording=wording)
    for path in pair:
        replace(file, path=path).open_session(1).close()
    return file


def _is_described(path: Path, wording: Wording) -> bool:
    return described(path, is_bundle=False, remedy=wording.damaged).is_written


def compare_layers(
    pair: tuple[Path, Path], file: ServedFile, data: "GivenData", samples: int, progress: "Progress"
) -> "Compared":
    """Compare every activation that both files have; the worst comes first.

    Args:
        pair: The float file and the quantized one.
        file: What both are fed; see ``fed_alike``.
        data: Images; labels are not looked at.
        samples: At most so many, evenly spread over the data.
        progress: Where progress goes.

    Raises:
        InputError: No activation of one file has a counterpart in the other.
    """
    whole = data.split(file.spec, None, progress, names=file.classes)
    count = min(samples, len(whole))
    split = whole.take([i * len(whole) // count for i in range(count)])
    progress.say(file.fed(split.spec).summary())
    batches = (batch for batch, _ in split.batches(1))
    real, quantized = (layers.open_activations(path, file.layout) for path in pair)
    return layers.compare(real, quantized, batches)
