"""Programs of ``torch.export``, run by torch on the CPU."""

from squeeze.core.specs import RuntimeSpec

SPEC = RuntimeSpec(
    suffix=".pt2",
    precisions={"cpu": ("fp32", "int8")},
    needs={"torch": "torch"},
    install="acme-squeeze",
    backend="rounding",
    session_imports=("torch.export",),
)
