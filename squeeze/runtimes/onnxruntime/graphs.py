"""Walk over all nodes of an ONNX graph: branches and loop bodies are graphs inside of nodes."""

from collections.abc import Iterator
from typing import Any


def bodies(node: Any) -> list[Any]:  # noqa: ANN401  (a NodeProto)
    """Return the ``GraphProto`` that an If, Loop or Scan holds; none of other nodes."""
    found = []
    for attribute in node.attribute:
        if attribute.HasField("g"):
            found.append(attribute.g)
        found += attribute.graphs
    return found


def graphs(graph: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield a ``GraphProto`` and, depth first, all that its nodes hold."""
    yield graph
    for node in graph.node:
        for body in bodies(node):
            yield from graphs(body)


def nodes(graph: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield all nodes of a ``GraphProto``, those of branches and loop bodies included."""
    for each in graphs(graph):
        yield from each.node


def initializers(graph: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield all constants that a ``GraphProto`` and the graphs inside it store."""
    for each in graphs(graph):
        yield from each.initializer
