"""Layers over sequences: tables of embeddings and recurrent layers."""

from typing import TYPE_CHECKING

from squeeze.pruning.graph.call import Call
from squeeze.pruning.graph.labels import Labelled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from squeeze.pruning.graph.call import Rule


def embedding(call: Call) -> Labelled:
    """Rows of a table; its columns are channels."""
    table: Labelled = call.args[0]
    shape = (*[1] * (len(call.shape) - 1), -1)
    maps = []
    for labels in table.maps:
        if labels.shape[1] > 1 and labels.shape[0] == 1:
            maps.append(labels.reshape(shape))
            call.coupling.make(labels)
    return table.with_maps(maps, call.shape)


def recurrent(call: Call) -> list[Labelled]:
    """Recurrent layers: the first one's inputs may go; what they make stays."""
    x, weights = call.args[0], call.args[2]
    each = 4 if call.args[3] else 2  # weights of inputs, of states, and the biases of both
    first = each * (2 if call.args[7] else 1)
    inputs = None
    for labels in x.maps:
        if labels.shape[-1] > 1:
            inputs = call.coupling.collapse(labels, range(labels.ndim - 1)).reshape(-1)
        else:
            call.stay(labels, f"is a position of '{call.name}'")
    for number, weight in enumerate(weights):
        for labels in weight.maps:
            reads = number < first and number % each == 0 and labels.shape[-1] > 1
            if reads and labels.ndim > 1 and inputs is not None:
                call.coupling.tie(inputs, labels.reshape(-1))
            else:
                call.stay(labels, f"is inside '{call.name}'")
    return [Labelled(shape) for shape in call.shapes]


RULES: "Mapping[str, Rule]" = dict.fromkeys(("gru", "lstm", "rnn_tanh", "rnn_relu"), recurrent) | {
    "embedding": embedding
}
