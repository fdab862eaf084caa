"""LiteRT (TensorFlow Lite) on the CPU, with its XNNPACK kernels."""

from squeeze.core.specs import RuntimeSpec

# XNNPACK computes in half precision where the application asks for it, and otherwise only for files
# whose metadata allows it, which ai-edge-quantizer does not write
SPEC = RuntimeSpec(
    suffix=".tflite",
    backend="litert",
    precisions={"cpu": ("fp32", "fp16", "int8")},
    needs={"ai_edge_litert": "ai-edge-litert"},
    export_needs={"litert_torch": "litert-torch"},
    install="squeeze[litert]",
    refuses={
        "bf16": (
            "LiteRT has no bfloat16 convolution on the CPU; allowed: fp16, or bf16 on a pytorch "
            "target"
        ),
    },
    fp16_widened="litert computes in float32 unless the application asks for half precision",
    layout="NHWC",
    fixed_batch=True,
    slow_export=True,
    host_caveat=(
        "LiteRT was timed on this host's processor, not on a phone: its speed-ups do not carry "
        "over to phones."
    ),
    session_imports=("ai_edge_litert.interpreter",),
)
