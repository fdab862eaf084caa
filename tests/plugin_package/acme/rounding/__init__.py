"""Programs whose convolutions keep int8 weights, one scale for each output channel."""

from squeeze.core.specs import BackendSpec

SPEC = BackendSpec(
    runtimes=("pt2",),
    schemes=("weight_only_int8",),
    keeps_recovered=False,
    ignores=("recovery", "keep_float", "mixed_precision"),
)
