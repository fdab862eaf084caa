"""Save what files predict for every sample, as NumPy's .npz or as JSON."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.errors import InputError
from squeeze.store import new_file, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from squeeze.api.evaluate_files import FileEvaluation
    from squeeze.core.boxes import Detections
    from squeeze.measure.evaluator import Predictions

    Arrays = dict[str, NDArray[np.generic]]

_SUFFIXES = (".npz", ".json")


def check(path: Path, where: str) -> None:
    """Refuse a place that predictions cannot be saved to, before anything is measured.

    Args:
        path: The place.
        where: What names it.

    Raises:
        InputError: Another suffix, or a file that is there already.
    """
    if path.suffix not in _SUFFIXES:
        what = f"found '{path.name}', allowed: a name that ends in .npz or .json"
        raise InputError(what, where=where)
    if path.exists():
        raise InputError("exists already", where=str(path), hint="choose another name")


def save(path: Path, evaluations: "Sequence[FileEvaluation]") -> None:
    """Write the predictions of all files, with the samples' names and labels.

    JSON holds class names; .npz holds indices into ``classes``. In ``.npz``, ``predictions`` is
    ``(files, samples, 5)``, the best class first; detections are rows of ``xyxy``, ``scores``,
    ``class_index``, ``file_index`` and ``sample_index``, with boxes in pixels of the picture.

    Raises:
        InputError: The place cannot be written, or the files know classes in different orders.
    """
    if path.suffix == ".json":
        shown = {"files": [_plain(each) for each in evaluations]}
        write_text(path, json.dumps(shown, indent=1))
        return
    first = evaluations[0].evaluation.samples
    orders = {tuple(each.evaluation.samples.samples.classes) for each in evaluations}
    if len(orders) > 1:
        raise InputError(
            "holds indices of classes, and the files know them in different orders",
            where=str(path),
            hint="save .json, which holds names",
        )
    arrays: Arrays = {
        "files": np.array([each.case.name for each in evaluations]),
        "runtimes": np.array([each.case.file.place for each in evaluations]),
        "names": np.array([first.name(position) for position in range(len(first))]),
        "classes": np.array(first.samples.classes),
    }
    arrays |= _of_boxes(evaluations) if first.has_boxes else _of_classes(evaluations)
    with new_file(path) as inside, inside.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def _of_classes(evaluations: "Sequence[FileEvaluation]") -> "Arrays":
    return {
        "truth": evaluations[0].evaluation.samples.class_indices,
        "predictions": np.stack([each.evaluation.predictions for each in evaluations]),
    }


def _of_boxes(evaluations: "Sequence[FileEvaluation]") -> "Arrays":
    rows = [
        (number, sample, detections)
        for number, each in enumerate(evaluations)
        for sample, detections in enumerate(_in_pictures(each))
    ]
    counts = [len(detections) for _, _, detections in rows]
    return {
        "file_index": np.repeat([number for number, _, _ in rows], counts),
        "sample_index": np.repeat([sample for _, sample, _ in rows], counts),
        "xyxy": np.concatenate([detections.xyxy for _, _, detections in rows]),
        "scores": np.concatenate([detections.scores for _, _, detections in rows]),
        "class_index": np.concatenate([detections.classes for _, _, detections in rows]),
    }


def _in_pictures(each: "FileEvaluation") -> "list[Detections]":
    """Return detections in pixels of the pictures."""
    predictions: Predictions = each.evaluation.predictions
    samples = each.evaluation.samples
    return [one.back(samples.placement(position)) for position, one in enumerate(predictions)]


def _plain(each: "FileEvaluation") -> dict[str, object]:
    samples = each.evaluation.samples
    predicted = _named_boxes(each) if samples.has_boxes else _named_classes(each)
    rows = [{"name": samples.name(position)} | values for position, values in enumerate(predicted)]
    return each.case.settings() | {"samples": rows}


def _named_classes(each: "FileEvaluation") -> list[dict[str, object]]:
    samples = each.evaluation.samples
    classes, labels = samples.samples.classes, samples.class_indices
    return [
        {
            "label": classes[int(labels[position])],
            "predicted": [classes[int(index)] for index in best],
        }
        for position, best in enumerate(each.evaluation.predictions)
    ]


def _named_boxes(each: "FileEvaluation") -> list[dict[str, object]]:
    classes = each.evaluation.samples.samples.classes
    return [
        {
            "detections": [
                {"class": classes[int(index)], "score": float(score), "xyxy": box.tolist()}
                for index, score, box in zip(one.classes, one.scores, one.xyxy, strict=True)
            ]
        }
        for one in _in_pictures(each)
    ]
