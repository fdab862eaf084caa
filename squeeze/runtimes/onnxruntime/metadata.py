"""A text inside an ONNX file, in ``metadata_props``; runtimes ignore it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

KEY = "squeeze"


def write(path: "Path", destination: "Path", text: str) -> None:
    """Write a copy of a file with a text in it, in place of one that is there."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    others = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != KEY]
    del model.metadata_props[:]
    for key, value in (*others, (KEY, text)):
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, destination)


def read(path: "Path") -> str | None:
    """Return the text inside a file; None where there is none."""
    import onnx

    entries = onnx.load(path, load_external_data=False).metadata_props
    return next((entry.value for entry in entries if entry.key == KEY), None)
