"""What part of a model would run in int8: read from its graph, before anything is quantized."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from squeeze.core.errors import cause_of

if TYPE_CHECKING:
    from squeeze.models.types import Model


@dataclass(frozen=True)
class Int8Forecast:
    """What static int8 would make of a model in the runtimes that squeeze knows.

    Attributes:
        int8: Convolutions, linear layers and products of two activations that int8 kernels run.
        total: All of them.
        floating: ``{operation: reason}`` of what stays float between them.
        unknown: Why there is no forecast; then the rest is empty.
    """

    int8: int = 0
    total: int = 0
    floating: dict[str, str] = field(default_factory=dict)
    unknown: str = ""


def forecast(model: "Model") -> Int8Forecast:
    """Say what part of a model would run in int8, by the rules that training for int8 follows.

    It is not a measurement: only the audit of a file shows what its runtime does with it.
    """
    import torch
    from torch.fx.passes.shape_prop import ShapeProp

    from squeeze.quantization.qat import floats, places, simulation

    try:
        graph = simulation.folded(model.module.eval())
        with torch.inference_mode():
            ShapeProp(graph).propagate(torch.zeros(1, *model.input.shape))
    except Exception as error:  # noqa: BLE001  (a model of the user's may raise anything)
        return Int8Forecast(unknown=cause_of(error))
    nodes = [node for node in graph.graph.nodes if node.op.startswith("call_")]
    tensors = {
        node.name: (0.0, 0.0)  # ranges are found by calibration
        for node in nodes
        if getattr(node.meta.get("tensor_meta"), "dtype", None) == torch.float32
    }
    stay = floats.in_float(graph, tensors, {})
    products = [node for node in nodes if places.is_matrix_product(graph, node)]
    return Int8Forecast(
        int8=sum(node.name not in stay for node in products),
        total=len(products),
        floating={name: reason for name, reason in stay.items() if reason != floats.BETWEEN},
    )
