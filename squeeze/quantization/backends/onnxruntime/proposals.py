"""Keep in float where a two-stage detector places its proposals.

Coordinates span all pixels of the input, so one of 256 steps would be several pixels; the order of
scores and the overlaps of boxes decide what the second stage sees. The layers that proposals are
made from, and those that process them, are in 8 bits like everything else.
"""

from collections.abc import Sequence

from squeeze.quantization.keep_float.matching import FileOperator

REASON = "in float where proposals are placed and suppressed"

_LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def placing(operators: Sequence[FileOperator]) -> dict[str, str]:
    """Return the operators between layers and where boxes are suppressed or features cut out.

    Args:
        operators: Of an ONNX file.

    Returns:
        Their names, with the reason for leaving them in float.
    """
    makers = {name: operator for operator in operators for name in operator.outputs}
    ahead: list[str] = []
    for operator in operators:
        if operator.kind == "NonMaxSuppression":
            ahead += operator.inputs
        elif operator.kind == "RoiAlign":
            ahead += operator.inputs[1:]  # the first one is the feature map
    found: dict[str, str] = {}
    while ahead:
        maker = makers.get(ahead.pop())
        if maker is None or maker.kind in _LAYERS or maker.name in found:
            continue
        found[maker.name] = REASON
        ahead += maker.inputs
    return found
