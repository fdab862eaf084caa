"""Keep in float where outputs of several layers are joined at the end of a file.

A detector's heads are reshaped and concatenated into one tensor. In integers, all of them would
share one range, that of the level with the largest values; in float, each keeps its own, and
nothing is computed there that int8 would speed up.
"""

from collections.abc import Collection, Sequence

from squeeze.quantization.keep_float.matching import FileOperator

REASON = "in float where outputs are joined: each head keeps its own range"


def joining(
    operators: Sequence[FileOperator],
    outputs: Collection[str],
    *,
    moving: Collection[str],
    concatenation: str,
) -> dict[str, str]:
    """Return the operators that join a file's outputs, with the reason for leaving them in float.

    They only move values, from a concatenation or towards one, and nothing is computed from them.

    Args:
        operators: Of the file, in order of execution.
        outputs: The file's outputs.
        moving: Kinds of operators that only move values, concatenations among them.
        concatenation: The kind of a concatenation.
    """
    makers = {name: operator for operator in operators for name in operator.outputs}
    read = [name for operator in operators for name in operator.inputs]
    found: dict[str, str] = {}
    for output in outputs:
        region = _moved_from(output, makers, read, moving)
        if any(operator.kind == concatenation for operator in region):
            found |= {operator.name: REASON for operator in region}
    return found


def _moved_from(
    output: str, makers: dict[str, FileOperator], read: list[str], moving: Collection[str]
) -> list[FileOperator]:
    """Return the operators before an output that only move values, and only towards it."""
    region: list[FileOperator] = []
    ahead, inside = [output], 0
    while ahead:
        name = ahead.pop()
        operator = makers.get(name)
        if operator is None or operator.kind not in moving or read.count(name) != inside:
            continue
        region.append(operator)
        ahead += operator.inputs
        inside = 1  # behind the output every value has the one reader that led here
    return region
