"""Save what files predict for every sample, as NumPy's .npz or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from squeeze.cli.cases import Case
    from squeeze.data.splits import Split
    from squeeze.measure.evaluator import Predictions

_SUFFIXES = (".npz", ".json")


@dataclass(frozen=True)
class CasePredictions:
    """What one file predicts for all samples of a split."""

    case: "Case"
    split: "Split"
    predictions: "Predictions"


def check(path: Path | None) -> None:
    """Refuse a place that predictions cannot be saved to, before anything is measured.

    Raises:
        InputError: Another suffix, or a file that is there already.
    """
    if path is None:
        return
    if path.suffix not in _SUFFIXES:
        what = f"found '{path.name}', allowed: a name that ends in .npz or .json"
        raise InputError(what, where="--save-predictions")
    if path.exists():
        raise InputError("exists already", where=str(path), hint="choose another name")


def save(path: Path, found: Sequence[CasePredictions]) -> None:
    """Write the predictions of all files, with the samples' names and labels.

    JSON holds class names; .npz holds indices into ``classes``. In ``.npz``, ``predictions`` is
    ``(files, samples, 5)``, the best class first; detections are rows of ``xyxy``, ``scores``,
    ``class_index``, ``file_index`` and ``sample_index``, with boxes in pixels of the
    picture.

    Raises:
        InputError: The place cannot be written, or the files know classes in different orders.
    """
    import numpy as np

    from squeeze.store import new_file, write_text

    if path.suffix == ".json":
        write_text(path, json.dumps(_plain(found), indent=1))
        return
    first = found[0].split
    if any(each.split.samples.classes != first.samples.classes for each in found):
        raise InputError(
            "holds indices of classes, and the files know them in different orders",
            where=str(path),
            hint="save .json, which holds names",
        )
    arrays: dict[str, Any] = {
        "files": np.array([each.case.name for each in found]),
        "runtimes": np.array([each.case.file.place for each in found]),
        "names": np.array([first.name(position) for position in range(len(first))]),
        "classes": np.array(first.samples.classes),
    }
    with new_file(path) as inside, inside.open("wb") as stream:
        np.savez_compressed(stream, **arrays, **_arrays(found))


def _arrays(found: Sequence[CasePredictions]) -> dict[str, Any]:
    import numpy as np

    if not found[0].split.has_boxes:
        return {
            "truth": found[0].split.labels,
            "predictions": np.stack([each.predictions for each in found]),
        }
    rows = [
        (number, sample, detections)
        for number, each in enumerate(found)
        for sample, detections in enumerate(each.predictions)
    ]
    counts = [len(detections) for _, _, detections in rows]
    return {
        "file_index": np.repeat([number for number, _, _ in rows], counts),
        "sample_index": np.repeat([sample for _, sample, _ in rows], counts),
        "xyxy": np.concatenate([detections.xyxy for _, _, detections in rows]),
        "scores": np.concatenate([detections.scores for _, _, detections in rows]),
        "class_index": np.concatenate([detections.classes for _, _, detections in rows]),
    }


def _plain(found: Sequence[CasePredictions]) -> dict[str, Any]:
    return {
        "files": [
            each.case.plain()
            | {
                "samples": [
                    {"name": each.split.name(position)} | _of_sample(each, position)
                    for position in range(len(each.split))
                ]
            }
            for each in found
        ]
    }


def _of_sample(each: CasePredictions, position: int) -> dict[str, Any]:
    classes = each.split.samples.classes
    predicted = each.predictions[position]
    if not each.split.has_boxes:
        best = [classes[int(index)] for index in predicted]
        return {"label": classes[int(each.split.class_indices[position])], "predicted": best}
    return {
        "detections": [
            {"class": classes[int(index)], "score": float(score), "xyxy": box.tolist()}
            for index, score, box in zip(
                predicted.classes, predicted.scores, predicted.xyxy, strict=True
            )
        ]
    }
