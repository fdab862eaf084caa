"""A text inside a LiteRT file, in a buffer that ``Model.metadata`` names; the runtime ignores it.

Source: https://github.com/tensorflow/tensorflow/blob/v2.19.0/tensorflow/compiler/mlir/lite/schema/schema.fbs
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from squeeze.runtimes.litert.graphs import Table

KEY = "squeeze"
_LITERT = b"TFL3"
_ALIGNMENT = 16


def write(path: "Path", destination: "Path", text: str) -> None:
    """Write a copy of a file with a text in it, in place of one that is there."""
    destination.write_bytes(_with_buffer(path.read_bytes(), text.encode()))


def read(path: "Path") -> str | None:
    """Return the text inside a file; None where there is none."""
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    if content[4:8] != _LITERT:
        return None
    model = schema.Model.GetRootAs(content)
    for number in range(model.MetadataLength()):
        entry = model.Metadata(number)
        if entry.Name() == KEY.encode():
            return bytes(model.Buffers(entry.Buffer()).DataAsNumpy()).decode()
    return None


def _with_buffer(content: bytes, record: bytes) -> bytes:
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    class Aligned(schema.BufferT):  # type: ignore[misc]
        """A buffer that starts at a multiple of 16 bytes, as the schema wants it."""

        def Pack(self, builder: "Table") -> "Table":  # noqa: N802
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
    model.buffers = [Aligned(_data(one, content)) for one in model.buffers]
    builder = flatbuffers.Builder(len(content) + len(record) + 1024)
    builder.Finish(model.Pack(builder), _LITERT)
    return bytes(builder.Output())


def _data(buffer: "Table", content: bytes) -> "Table":
    """Return a buffer's content; that of large files lies behind the graph, at an offset."""
    import numpy as np

    if buffer.offset > 1:
        return np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
    return buffer.data
