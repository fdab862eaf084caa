"""ONNX Runtime on the CPU."""

from squeeze.core.specs import RuntimeSpec

SPEC = RuntimeSpec(
    suffix=".onnx",
    backend="onnxruntime",
    precisions={"cpu": ("fp32", "fp16", "int8")},
    needs={"onnxruntime": "onnxruntime"},
    export_needs={"onnx": "onnx", "onnxscript": "onnxscript"},
    install="squeeze[onnx]",
    refuses={
        "bf16": (
            "ONNX Runtime has no bfloat16 convolution on the CPU; allowed: fp16, or bf16 on a "
            "pytorch target"
        ),
        "static_int8_int16": (
            "ONNX Runtime has no 16-bit integer kernels on the CPU: products would run in float "
            "between conversions; allowed: static_int8, or a litert target"
        ),
    },
    fp16_widened_on_x86="onnxruntime computes in float32 on x86",
    ends_at_boxes=True,
    suppresses=True,
    session_imports=("onnxruntime",),
)
