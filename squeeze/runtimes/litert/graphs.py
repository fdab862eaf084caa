"""The subgraphs of a ``.tflite`` file as they are stored.

LiteRT's interpreter lists the operators of the first subgraph only; branches, loop bodies and
further signatures are read from the file.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from squeeze.core.errors import InputError

Table = Any
"""A table of the file's schema, by flatbuffers' generated code, which has no types."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of a subgraph.

    Attributes:
        name: As stored; bytes that are no UTF-8 are replaced.
        kind: Its element type, as numpy calls it.
        shape: As stored, ``-1`` for what changes.
        size_bytes: Of its stored values; 0 of an activation.
        is_quantized: Whether it has a scale.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    size_bytes: int
    is_quantized: bool


@dataclass(frozen=True)
class Operator:
    """An operator of a subgraph.

    Attributes:
        name: What it does.
        inputs: Tensors that it reads; ``-1`` where one is left out.
        outputs: Tensors that it makes.
        calls: Subgraphs that it runs: branches, loop bodies, reducers.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    calls: tuple[int, ...]


@dataclass(frozen=True)
class Subgraph:
    """What one subgraph holds."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def subgraphs(path: Path) -> list[Subgraph]:
    """Read all subgraphs of a file, the one that runs first in front.

    Raises:
        InputError: It is damaged.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAs(path.read_bytes(), 0)
        codes = [_code(model.OperatorCodes(place)) for place in range(model.OperatorCodesLength())]
        return [_subgraph(model, place, codes) for place in range(model.SubgraphsLength())]
    except Exception as error:  # of the reader: struct.error, TypeError, IndexError and others
        if isinstance(error, OSError):
            raise
        raise InputError(
            f"is damaged: its subgraphs cannot be read ({type(error).__name__})", where=str(path)
        ) from error


def _code(code: Table) -> str:
    builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    name = _names("BuiltinOperator").get(builtin, f"operator {builtin}")
    return _text(code.CustomCode()) if name == "CUSTOM" else name


def _subgraph(model: Table, place: int, codes: list[str]) -> Subgraph:
    graph = model.Subgraphs(place)
    tensors = tuple(_tensor(model, graph.Tensors(i)) for i in range(graph.TensorsLength()))
    operators = []
    for i in range(graph.OperatorsLength()):
        each = graph.Operators(i)
        name, sides = codes[each.OpcodeIndex()], (_ints(each, "In"), _ints(each, "Out"))
        operators.append(Operator(name, *sides, _calls(each)))
    return Subgraph(tensors, tuple(operators), _ints(graph, "In"), _ints(graph, "Out"))


def _calls(operator: Table) -> tuple[int, ...]:
    from ai_edge_litert import schema_py_generated as schema

    whole = schema.OperatorT.InitFromObj(operator)
    found = []
    for options in (whole.builtinOptions, whole.builtinOptions2):
        named = vars(options).items() if options is not None else ()
        found += [v for k, v in named if k.lower().endswith(("subgraphindex", "subgraph"))]
    return tuple(int(each) for each in found if isinstance(each, int) and each > 0)


def _tensor(model: Table, tensor: Table) -> Tensor:
    quantization = tensor.Quantization()
    kind = _names("TensorType").get(tensor.Type(), "unknown").lower()
    buffer = model.Buffers(tensor.Buffer())
    return Tensor(
        _text(tensor.Name()),
        kind,
        tuple(int(tensor.Shape(i)) for i in range(tensor.ShapeLength())),
        int(buffer.DataLength() or buffer.Size()),
        quantization is not None and quantization.ScaleLength() > 0,
    )


def _ints(table: Table, side: str) -> tuple[int, ...]:
    count, get = getattr(table, f"{side}putsLength"), getattr(table, f"{side}puts")
    return tuple(int(get(i)) for i in range(count()))


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", errors="replace")


@cache
def _names(enum: str) -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {v: k for k, v in vars(getattr(schema, enum)).items() if isinstance(v, int)}
