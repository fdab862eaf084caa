"""Operators and inner values of a float LiteRT file."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from squeeze.quantization.keep_float.joined import joining
from squeeze.quantization.keep_float.matching import FileOperator
from squeeze.runtimes.litert import graphs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ai_edge_litert.interpreter import Interpreter
    from numpy.typing import NDArray

_MOVING = {
    "CONCATENATION", "RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "SLICE", "STRIDED_SLICE",
    "SPLIT", "GATHER",
}  # fmt: skip
_LONGEST = 10000  # at which ai-edge-quantizer cuts a scope off


def operators(path: Path) -> list[FileOperator]:
    """Return the file's operators in order of execution; their names are their first outputs'."""
    interpreter = _interpreter(path)
    names = _names(interpreter)
    found = []
    for operator in interpreter._get_ops_details():  # noqa: SLF001  (there is no public way)
        outputs = tuple(names[index] for index in operator["outputs"] if index in names)
        inputs = tuple(names[index] for index in operator["inputs"] if index in names)
        kind = str(operator["op_name"])
        found.append(FileOperator(outputs[0], inputs, outputs, kind))
    return found


def scopes(path: Path) -> dict[str, list[str]]:
    """Return what ai-edge-quantizer finds each operator with, by its name in ``operators``.

    What an operator calls belongs to it: the quantizer takes reducers and loop bodies for graphs
    of their own, with inputs that it wants to quantize.
    """
    every = graphs.subgraphs(path)

    def names(graph: graphs.Subgraph, indices: tuple[int, ...]) -> tuple[str, ...]:
        return tuple(graph.tensors[index].name for index in indices if index >= 0)

    def inside(graph: graphs.Subgraph, operator: graphs.Operator) -> list[str]:
        found = [_scope(names(graph, operator.outputs))]
        for called in (every[each] for each in operator.calls):
            found.append(_scope(names(called, called.inputs)))
            for each in called.operators:
                found += inside(called, each)
        return found

    first = every[0]
    return {
        first.tensors[operator.outputs[0]].name: inside(first, operator)
        for operator in first.operators
        if operator.outputs
    }


def joins(path: Path) -> dict[str, str]:
    """Return the operators that join the file's outputs, with the reason why they stay float."""
    outputs = [str(detail["name"]) for detail in _interpreter(path).get_output_details()]
    return joining(operators(path), outputs, moving=_MOVING, concatenation="CONCATENATION")


def values(
    path: Path, images: "NDArray[np.float32]"
) -> "Iterator[tuple[str, NDArray[np.floating]]]":
    """Yield the file's input and all tensors that its operators make, float ones only.

    Args:
        path: The file.
        images: ``(N, C, H, W)`` of the file's batch size.
    """
    interpreter = _interpreter(path)
    entry = interpreter.get_input_details()[0]
    interpreter.set_tensor(
        entry["index"], np.ascontiguousarray(images.transpose(0, 2, 3, 1), np.float32)
    )
    interpreter.invoke()
    names = _names(interpreter)
    made = [
        index
        for operator in interpreter._get_ops_details()  # noqa: SLF001
        for index in operator["outputs"]
        if index in names
    ]
    for index in (entry["index"], *made):
        found = interpreter.get_tensor(index)
        if found.dtype.kind == "f":
            yield names[index], found


def _scope(outputs: tuple[str, ...]) -> str:
    """Return the regular expression that ai-edge-quantizer finds this operator alone with."""
    whole = ";".join(outputs) + ";"
    return f"^{re.escape(whole[:_LONGEST])}$"


def _interpreter(path: Path) -> "Interpreter":
    from ai_edge_litert import interpreter

    opened = interpreter.Interpreter(
        str(path),
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    opened.allocate_tensors()
    return opened


def _names(interpreter: "Interpreter") -> dict[int, str]:
    return {detail["index"]: str(detail["name"]) for detail in interpreter.get_tensor_details()}
