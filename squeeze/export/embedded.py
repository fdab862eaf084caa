"""A file's description inside the file itself, where it cannot be lost: ONNX and LiteRT metadata.

An ONNX file keeps it in ``metadata_props``, a LiteRT file in a buffer that ``Model.metadata`` names
(https://github.com/tensorflow/tensorflow/blob/v2.19.0/tensorflow/compiler/mlir/lite/schema/schema.fbs).
Runtimes ignore both.
"""

import json
from typing import TYPE_CHECKING, Any

from squeeze.store import new_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEY = "squeeze"
_LITERT = b"TFL3"
_ALIGNMENT = 16


def embed_(path: "Path", record: "Mapping[str, Any]") -> None:
    """Put a record into an ``.onnx`` or ``.tflite`` file, in place of one that is there.

    Weights and graph stay as they are; the file appears whole or not at all.

    Args:
        path: The file.
        record: Plain data.
    """
    text = json.dumps(record)
    with new_file(path) as inside:
        if path.suffix == ".tflite":
            inside.write_bytes(_with_buffer(path.read_bytes(), text.encode()))
        else:
            _with_property(path, inside, text)


def read(path: "Path") -> dict[str, Any] | None:
    """Return the record inside a file, or None where there is none that can be read."""
    try:
        text = _buffer(path.read_bytes()) if path.suffix == ".tflite" else _property(path)
        found = None if text is None else json.loads(text)
    except Exception:  # noqa: BLE001  (a damaged file is told of by its runtime)
        return None
    return found if isinstance(found, dict) else None


def _with_property(path: "Path", destination: "Path", text: str) -> None:
    import onnx

    model = onnx.load(path, load_external_data=False)
    others = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != KEY]
    del model.metadata_props[:]
    for key, value in (*others, (KEY, text)):
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, destination)


def _property(path: "Path") -> str | None:
    import onnx

    entries = onnx.load(path, load_external_data=False).metadata_props
    return next((entry.value for entry in entries if entry.key == KEY), None)


def _with_buffer(content: bytes, record: bytes) -> bytes:
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    class Aligned(schema.BufferT):  # type: ignore[misc]
        """A buffer that starts at a multiple of 16 bytes, as the schema wants it."""

        def Pack(self, builder: Any) -> Any:  # noqa: ANN401, N802
            data = None if self.data is None else np.asarray(self.data, np.uint8).tobytes()
            if data is not None:
                builder.StartVector(1, len(data), _ALIGNMENT)
                builder.head -= len(data)
                builder.Bytes[builder.head : builder.head + len(data)] = data
                data = builder.EndVector()
            schema.BufferStart(builder)
            if data is not None:
                schema.BufferAddData(builder, data)
            schema.BufferAddOffset(builder, self.offset)
            schema.BufferAddSize(builder, self.size)
            return schema.BufferEnd(builder)

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content)))
    entry = next((one for one in model.metadata or [] if one.name == KEY.encode()), None)
    if entry is None:
        entry = schema.MetadataT(name=KEY.encode(), buffer=len(model.buffers))
        model.metadata = [*(model.metadata or []), entry]
        model.buffers = [*model.buffers, schema.BufferT()]
    model.buffers[entry.buffer].data = np.frombuffer(record, np.uint8)
    model.buffers = [Aligned(one.data, one.offset, one.size) for one in model.buffers]
    builder = flatbuffers.Builder(len(content) + len(record) + 1024)
    builder.Finish(model.Pack(builder), _LITERT)
    return bytes(builder.Output())


def _buffer(content: bytes) -> str | None:
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != _LITERT:
        return None
    model = schema.Model.GetRootAs(content)
    for number in range(model.MetadataLength()):
        entry = model.Metadata(number)
        if entry.Name() == KEY.encode():
            return bytes(model.Buffers(entry.Buffer()).DataAsNumpy()).decode()
    return None
