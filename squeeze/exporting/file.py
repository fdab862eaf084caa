"""One exported file: write it, describe its input inside and beside it, compare it with torch."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.core.detector import DetectorSpec
from squeeze.core.errors import InputError, SqueezeError
from squeeze.core.parity import distances
from squeeze.core.specs import RuntimeSpec
from squeeze.exporting import embedded
from squeeze.runtimes.base import Execution, several
from squeeze.runtimes.runtime import Runtime, of_file
from squeeze.store import checksums, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from squeeze.exporting.file_record import FileRecord
    from squeeze.models.types import Model

PARITY_LIMIT = 0.01
_FITS = {
    "crop": "resizing and centre crop",
    "letterbox": "resizing into the input with grey (114) bars on both sides",
    "stretch": "resizing both sides",
}


def name_of(state: str, spec: RuntimeSpec, batch_size: int) -> str:
    """Return the file's name; a batch size is part of it where the file is bound to one."""
    batch = f".b{batch_size}" if spec.fixed_batch and batch_size > 1 else ""
    return f"{state}{batch}{spec.suffix}"


def write(
    state: str, model: "Model", runtime: Runtime, batch_size: int, folder: Path, log: Path | None
) -> Path:
    """Export one model as a file of a runtime, once, and describe the file.

    Raises:
        SqueezeError: The exporter cannot express the model.
    """
    path = folder / name_of(state, runtime.spec, batch_size)
    if not path.exists():
        runtime.export(model, path, batch_size=batch_size, log=log)
        describe(path, model, batch_size)
    return path


def describe(path: Path, model: "Model", batch_size: int) -> Path:
    """Say how to prepare images for a file and read a detector's outputs: beside it and inside.

    Returns:
        The place of ``<file>.json``.
    """
    detector = getattr(model.module, "detector", None)
    record = _input(path, model, batch_size)
    if isinstance(detector, DetectorSpec):
        record["detector"] = detector.as_json()
    return _write(path, record)


def describe_detections(path: Path, model: "Model", outputs: "Mapping[str, str]") -> Path:
    """Describe a file that ends at detections, beside it and inside: its input, its outputs."""
    return _write(path, _input(path, model, 1) | {"detections": dict(outputs)})


def _write(path: Path, record: "FileRecord") -> Path:
    beside: FileRecord = {"file": path.name}
    if path.is_file():
        embedded.embed_(path, record)
        beside["sha256"] = checksums.of_file(path)
    return write_text(description_of(path), json.dumps(beside | record, indent=1))


def refuse_changed(path: Path) -> None:
    """Refuse a file that is not the one that was described when it was exported.

    Files without a description, or without a checksum in it, pass.

    Raises:
        InputError: It is damaged, or was changed.
    """
    record = description_of(path)
    try:
        expected = json.loads(record.read_text(encoding="utf-8"))["sha256"]
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
    ):  # damage is reported by whoever reads the rest
        return
    if path.is_file() and checksums.of_file(path) != expected:
        raise InputError(
            f"is damaged or was changed: its SHA-256 is not the one in {record.name}",
            where=str(path),
            hint=f"export it again; if it was changed on purpose, remove sha256 from {record.name}",
        )


def description_of(path: Path) -> Path:
    """Return the place of an exported file's description."""
    return path.with_name(path.name + ".json")


def _input(path: Path, model: "Model", batch_size: int) -> "FileRecord":
    place, spec = of_file(path), model.input
    is_fixed = place is not None and place.spec.fixed_batch
    order = " with blue first" if spec.channel_order == "bgr" else ""
    classes = list(model.architecture.classes)
    record: FileRecord = {"classes": classes} if classes else {}
    record |= {
        "layout": "NCHW" if place is None else place.spec.layout,
        "batch": batch_size if is_fixed else "dynamic",
        "input": spec.model_dump(mode="json"),
        "prepare": f"(pixels / 255 - mean) / std{order}, after {_FITS[spec.fit]}",
    }
    return record


def difference(runtime: Runtime, path: Path, model: "Model", batch_size: int) -> float:
    """Return the largest difference of a float file from torch on random images.

    Raises:
        SqueezeError: It is more than 1 % of the largest output.
    """
    import numpy as np
    import torch

    shape = (batch_size, *model.input.shape)
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    with torch.inference_mode():
        outputs = model.module.eval()(torch.from_numpy(images))
    tensors = (outputs,) if torch.is_tensor(outputs) else tuple(outputs)
    expected = tuple(tensor.numpy() for tensor in tensors)
    session = runtime.open_session(path, Execution())
    found = several(session.invoke(session.prepare(images)))
    session.close()
    pairs = distances(found, expected, getattr(model.module, "detector", None))
    for distance, scale in pairs:
        if not distance <= PARITY_LIMIT * scale:
            what = f"its outputs differ from torch by up to {distance:.3g}"
            raise SqueezeError(what, where=str(path))
    return max(distance for distance, _ in pairs)
