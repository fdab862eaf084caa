"""Operators and inner values of a float ONNX file."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.quantization.backends.onnxruntime.proposals import placing
from squeeze.quantization.keep_float.joined import joining
from squeeze.quantization.keep_float.matching import FileOperator

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOVING = {
    "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Concat", "Slice", "Split", "Gather",
    "Identity",
}  # fmt: skip
_NO_LOSS = _MOVING | {"MaxPool", "Pad", "Expand", "Cast", "Shape", "Relu", "Clip"}
"""Operators that compute in 8 bits what they compute in float."""


def operators(path: Path) -> list[FileOperator]:
    """Return the file's operators in order of execution, by their nodes' names."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    constant = {tensor.name for tensor in graph.initializer}
    return [
        FileOperator(
            str(node.name),
            tuple(name for name in node.input if name and name not in constant),
            tuple(name for name in node.output if name),
            str(node.op_type),
        )
        for node in graph.node
    ]


def joins(path: Path) -> dict[str, str]:
    """Return the nodes that join the file's outputs, with the reason why they stay float."""
    import onnx

    outputs = [out.name for out in onnx.load(path, load_external_data=False).graph.output]
    return joining(operators(path), outputs, moving=_MOVING, concatenation="Concat")


def proposals(path: Path) -> dict[str, str]:
    """Return the nodes that place a two-stage detector's proposals, with why they stay float."""
    return placing(operators(path))


def values(
    path: Path, images: "NDArray[np.float32]"
) -> "Iterator[tuple[str, NDArray[np.floating]]]":
    """Yield the file's input and all its float tensors on some images ``(N, C, H, W)``."""
    import onnx
    import onnxruntime

    model = onnx.load(path)
    feed = model.graph.input[0].name
    wanted = [name for node in model.graph.node for name in node.output if name]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    yield feed, images
    for name, found in zip(wanted, session.run(wanted, {feed: images}), strict=True):
        if getattr(found, "dtype", None) is not None and found.dtype.kind == "f":
            yield name, found


def hold_apart_(path: Path, kept: Collection[str]) -> None:
    """Rewrite a file so that ONNX Runtime cannot turn the float nodes into int8 again.

    It takes every node between a dequantize and a quantize for an int8 one, quantizes its float
    weights on loading and fuses all of it, whatever the quantizer excluded. An operator in between
    prevents that: a leaky ReLU of slope 1, which changes nothing and is fused into convolutions.

    Args:
        path: Quantized, with quantize/dequantize pairs.
        kept: Names of the nodes that stay float.
    """
    import onnx

    if not kept:
        return
    model = onnx.load(path)
    graph = model.graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    outputs = {output.name for output in graph.output}
    for place in reversed(range(len(graph.node))):
        node = graph.node[place]
        fed = any(makers.get(name) == "DequantizeLinear" for name in node.input)
        if node.name not in kept or node.op_type in _NO_LOSS or not fed:
            continue
        for number, name in enumerate(node.output):
            if name in outputs:
                continue
            inner = f"{name}_float"
            node.output[number] = inner
            apart = onnx.helper.make_node("LeakyRelu", [inner], [name], f"{inner}_apart", alpha=1.0)
            graph.node.insert(place + 1, apart)
    onnx.save(model, path)
