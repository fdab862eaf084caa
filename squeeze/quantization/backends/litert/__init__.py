"""Files of LiteRT through ai-edge-quantizer; static int8 is per channel, with int8 activations.

The quantizer's own calibration averages the ranges of the images, which clips; here the recipe's
calibrator finds them, and they are handed to it.
"""

from squeeze.core.specs import BackendSpec

SPEC = BackendSpec(
    runtimes=("litert",),
    schemes=(
        "static_int8",
        "qat_int8",
        "dynamic_int8",
        "weight_only_int8",
        "static_int8_int16",
        "fp16",
    ),
    needs={"ai_edge_quantizer": "ai-edge-quantizer"},
    install="squeeze[litert]",
)
