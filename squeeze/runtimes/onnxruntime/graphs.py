"""Walk over all nodes of an ONNX graph: branches and loop bodies are graphs inside of nodes."""

from collections.abc import Iterator
from typing import Any

Proto = Any
"""A protobuf of ONNX: a graph, a node, a tensor. Their classes are made at run time, untyped."""


def bodies(node: Proto) -> list[Proto]:
    """Return every ``GraphProto`` in an If, Loop or Scan; none of other nodes."""
    found = []
    for attribute in node.attribute:
        if attribute.HasField("g"):
            found.append(attribute.g)
        found += attribute.graphs
    return found


def graphs(graph: Proto) -> Iterator[Proto]:
    """Yield a ``GraphProto`` and, depth first, all that its nodes hold."""
    yield graph
    for node in graph.node:
        for body in bodies(node):
            yield from graphs(body)


def nodes(graph: Proto) -> Iterator[Proto]:
    """Yield all nodes of a ``GraphProto``, those of branches and loop bodies included."""
    for each in graphs(graph):
        yield from each.node


def initializers(graph: Proto) -> Iterator[Proto]:
    """Yield all constants that a ``GraphProto`` and the graphs inside it store."""
    for each in graphs(graph):
        yield from each.initializer
