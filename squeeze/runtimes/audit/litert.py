"""Audit a ``.tflite`` file: LiteRT picks kernels by tensor types, with or without a delegate."""

import collections
import math
from typing import Any

import numpy as np

from squeeze.runtimes.audit import advice
from squeeze.runtimes.base import Audit, Coverage, FloatNode, Stored

_HEAVY = {
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "CONV_3D",
    "TRANSPOSE_CONV",
    "FULLY_CONNECTED",
    "BATCH_MATMUL",
}
_CONVERSIONS = {"QUANTIZE", "DEQUANTIZE", "TRANSPOSE", "CAST"}
_FLOATS = {"float32", "float16"}
_INTEGERS = {"int8", "uint8"}


class Tensors:
    """A model's tensors and operators by index.

    Args:
        interpreter: Without delegates, or with them.
    """

    def __init__(self, interpreter: Any) -> None:  # noqa: ANN401
        self.details = {d["index"]: d for d in interpreter.get_tensor_details()}
        # there is no public way to the operators
        every = interpreter._get_ops_details()  # noqa: SLF001
        self.operators = [op for op in every if op["op_name"] != "DELEGATE"]
        self.delegates = [op for op in every if op["op_name"] == "DELEGATE"]
        self.producers = {index: op for op in self.operators for index in op["outputs"]}
        self.inputs = {d["index"] for d in interpreter.get_input_details()}

    def kind(self, index: int) -> str:
        """Return a tensor's element type; empty for a missing optional one."""
        return np.dtype(self.details[index]["dtype"]).name if index in self.details else ""

    def constants(self) -> list[dict[str, Any]]:
        """Return tensors that operators read and none makes: the weights."""
        read = {index for op in self.operators for index in op["inputs"]}
        made = self.producers.keys() | self.inputs
        return [d for index, d in self.details.items() if index in read and index not in made]


def audited(plain: Any, delegated: Any, size_bytes: int) -> Audit:  # noqa: ANN401
    """Audit a loaded model.

    Args:
        plain: An interpreter without delegates, whose operators are the file's.
        delegated: One with LiteRT's default delegate, XNNPACK.
        size_bytes: Of the file.
    """
    tensors, partition = Tensors(plain), Tensors(delegated)
    ops = collections.Counter(op["op_name"] for op in tensors.operators)
    heavy = [op for op in tensors.operators if op["op_name"] in _HEAVY]
    survivors = []
    for op in heavy:
        why = _reason(op, tensors)
        if why:
            name = str(tensors.details[op["outputs"][0]]["name"])
            survivors.append(FloatNode(name, op["op_name"], why))
    convolutions = sum("CONV" in op["op_name"] for op in heavy)
    in_float = sum("CONV" in node.op for node in survivors)
    taken = _taken(partition)
    constants = tensors.constants()
    found = Audit(
        coverage=Coverage(
            len(heavy) - len(survivors),
            len(heavy),
            survivors,
            {op: count for op, count in sorted(ops.items()) if op in _CONVERSIONS},
            (convolutions - in_float, convolutions),
        ),
        islands=_islands(tensors),
        operators=dict(sorted(ops.items())),
        weights=_weights(constants),
        activations=dict(
            collections.Counter(tensors.kind(i) for i in tensors.producers if i in tensors.details)
        ),
        size_bytes=size_bytes,
        delegated=(len(taken), len(tensors.operators)),
    )
    return advice.with_advice(found, _facts(tensors, partition, taken, constants))


def _reason(op: dict[str, Any], tensors: Tensors) -> str:
    """Return why it does not run in an int8 kernel; empty if it does.

    Float activations with 8-bit weights do: such kernels quantize the input while running.
    """
    data, weight = (tensors.kind(index) for index in op["inputs"][:2])
    out = tensors.kind(op["outputs"][0])
    if weight in _INTEGERS and (data, out) in {("int8", "int8"), ("uint8", "uint8")}:
        return ""
    if weight in _INTEGERS and data in _FLOATS and out in _FLOATS:
        return ""
    if "int16" in {data, out}:
        return "its activations are int16, for which XNNPACK has no kernel: quantize them to int8"
    maker = tensors.producers.get(op["inputs"][1])
    if maker is not None and maker["op_name"] == "DEQUANTIZE":
        stored = tensors.kind(maker["inputs"][0])
        return f"its weights are stored as {stored} and dequantized: the product is float"
    if {data, weight, out} <= _FLOATS:
        return "the file does not quantize it: input, weights and output are float"
    return f"LiteRT has no int8 kernel for a {data} input, {weight} weights and a {out} output"


def _taken(partition: Tensors) -> set[int]:
    """Return the indices of operators inside of delegates.

    A delegate tells its outer tensors only: what lies between them is inside.
    """
    inside: set[int] = set()
    for delegate in partition.delegates:
        outer, waiting = set(delegate["inputs"]), list(delegate["outputs"])
        while waiting:
            index = waiting.pop()
            op = partition.producers.get(index)
            if op is None or index in outer or op["index"] in inside:
                continue
            inside.add(op["index"])
            waiting += list(op["inputs"])
    return inside


def _islands(tensors: Tensors) -> list[FloatNode]:
    read = collections.defaultdict(list)
    for op in tensors.operators:
        for index in op["inputs"]:
            read[index].append(op["op_name"])
    found = []
    for op in tensors.operators:
        if op["op_name"] in _HEAVY | _CONVERSIONS:
            continue
        makers = [tensors.producers[i]["op_name"] for i in op["inputs"] if i in tensors.producers]
        readers = [name for index in op["outputs"] for name in read[index]]
        if "DEQUANTIZE" in makers or "QUANTIZE" in readers:
            found.append(
                FloatNode(
                    str(tensors.details[op["outputs"][0]]["name"]),
                    op["op_name"],
                    "runs in float between integer operators: values are converted around it",
                )
            )
    return found


def _weights(constants: list[dict[str, Any]]) -> dict[str, Stored]:
    stored: dict[str, Stored] = {}
    for detail in constants:
        kind = np.dtype(detail["dtype"])
        before = stored.get(kind.name, Stored(0, 0))
        size = math.prod(int(n) for n in detail["shape"]) * kind.itemsize
        stored[kind.name] = Stored(before.tensors + 1, before.size_bytes + size)
    return stored


def _facts(
    tensors: Tensors, partition: Tensors, taken: set[int], constants: list[dict[str, Any]]
) -> advice.Facts:
    kinds = {tensors.kind(index) for index in tensors.producers}
    heavy = [op for op in tensors.operators if op["op_name"] in _HEAVY]
    return advice.Facts(
        runtime="LiteRT",
        is_quantized=any(len(d["quantization_parameters"]["scales"]) for d in constants),
        is_half=any(np.dtype(d["dtype"]) == np.float16 for d in constants),
        is_dynamic=any(
            tensors.kind(op["inputs"][0]) in _FLOATS and tensors.kind(op["inputs"][1]) in _INTEGERS
            for op in heavy
        ),
        is_wide="int16" in kinds,
        undelegated=tuple(op["op_name"] for op in partition.operators if op["index"] not in taken),
    )
