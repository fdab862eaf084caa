"""Files of ONNX Runtime; static int8 is QDQ with per-channel QInt8 weights.

The target's processor decides between QUInt8 and QInt8 activations (``kernels``): the quantizer's
own default, QInt8, leaves part of the convolutions in float on x86.
"""

from squeeze.core.specs import BackendSpec

SPEC = BackendSpec(
    runtimes=("onnxruntime",),
    schemes=("static_int8", "qat_int8", "dynamic_int8", "weight_only_int8", "fp16"),
)
