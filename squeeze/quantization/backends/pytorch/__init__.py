"""Bundles whose weights are half precision, for PyTorch targets."""

from squeeze.core.specs import BackendSpec

SPEC = BackendSpec(runtimes=("pytorch",), schemes=("fp16", "bf16"))
