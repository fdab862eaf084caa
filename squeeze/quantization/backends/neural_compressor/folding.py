"""Compute in an ONNX file what depends on stored weights alone, so that they are stored small."""

from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.runtimes.onnxruntime import graphs

if TYPE_CHECKING:
    from onnx import NodeProto

_FOLDED = {"QuantizeLinear", "Cast", "Clip"}


def fold_(path: Path) -> int:
    """Replace quantize, cast and clip nodes on constants by their results, in place.

    PyTorch's exporter writes float weights with a quantizer or a cast behind each: the file is as
    large as the float one and the work is done at every load.

    Returns:
        How many nodes were replaced.
    """
    import onnx
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(path)
    graph = model.graph
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    outputs = {output.name for output in graph.output}
    rest: list[NodeProto] = []
    for node in graph.node:
        inputs = [name for name in node.input if name]
        if node.op_type == "Constant" and node.output[0] not in outputs:
            inputs = []
        elif node.op_type not in _FOLDED or not all(name in stored for name in inputs):
            rest.append(node)
            continue
        values = ReferenceEvaluator(node).run(None, {name: stored[name] for name in inputs})
        stored |= dict(zip(node.output, values, strict=True))
    count = len(graph.node) - len(rest)
    read = {name for node in rest for name in _read(node)} | outputs
    tensors = [onnx.numpy_helper.from_array(v, n) for n, v in stored.items() if n in read]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(rest)
    graph.initializer.extend(tensors)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return count


def _read(node: "NodeProto") -> set[str]:
    """Return the tensors that a node reads, in its branches and loop bodies too."""
    inside = [each for body in graphs.bodies(node) for each in graphs.nodes(body)]
    ends = {end.name for body in graphs.bodies(node) for end in body.output}
    return {name for each in (node, *inside) for name in each.input} | ends
