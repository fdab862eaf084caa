"""Eager PyTorch, on the CPU or a CUDA GPU. What it runs is the bundle."""

from squeeze.core.specs import RuntimeSpec

_HALVES = ("fp32", "fp16", "bf16")

SPEC = RuntimeSpec(
    suffix="",
    backend="pytorch",
    precisions={"cpu": _HALVES, "cuda": _HALVES},
    needs={"torch": "torch"},
    install="squeeze",
    refuses={"int8": "PyTorch runs bundles, which hold no int8; allowed: fp16, bf16"},
    fp16_emulated="PyTorch emulates it number by number",
    suppresses=True,
    runs_modules=True,
    session_imports=("torch", "torchvision", "safetensors.torch"),
)
