"""Which activations' channels can only be scaled together, and which layers make and use them."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.union_find import UnionFind
from squeeze.quantization.recovery import graph as graphs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch.fx import GraphModule, Node

_OUTPUT = "the output"


@dataclass
class Group:
    """Nodes whose channels can only be scaled together.

    Attributes:
        makers: Layers whose output channels they are.
        users: Layers whose input channels they are.
        nodes: All activations.
        places: By activation, the group's channels that its own are ``(C,)``: a concatenation has
            those of all that it joins.
        channels: How many the group has.
    """

    makers: "dict[Node, graphs.Layer]" = field(default_factory=dict)
    users: "dict[Node, graphs.Layer]" = field(default_factory=dict)
    nodes: "list[Node]" = field(default_factory=list)
    places: "dict[Node, NDArray[np.int64]]" = field(default_factory=dict)
    channels: int = 0


def groups(graph: "GraphModule") -> list[Group]:
    """Return the groups that can be scaled without a change of what the graph computes."""
    return _sorted(graph)[0]


def blocked(graph: "GraphModule") -> list[str]:
    """Return why each of the other groups cannot be scaled."""
    return _sorted(graph)[1]


def _sorted(graph: "GraphModule") -> tuple[list[Group], list[str]]:
    scaled_together: UnionFind[Node] = UnionFind()
    channels = UnionFind[int]()
    fixed: list[tuple[Node, str]] = []
    shared = graphs.shared(graph)  # their weights are scaled for one place only
    own: dict[Node, NDArray[np.int64]] = {}
    for node in graph.graph.nodes:
        part, sources = graphs.layer(graph, node), node.all_input_nodes
        separate = str(node.target) not in shared
        if part is not None and separate and (graphs.is_dense(part) or graphs.is_depthwise(part)):
            own[node] = _new(channels, part.weight.shape[0])
            continue
        found = _passed_through(graph, node, [own.get(source) for source in sources], channels)
        if found is None:
            fixed += [(each, _described(graph, node)) for each in (node, *sources)]
            continue
        own[node] = found
        for source in sources:
            scaled_together.join(source, node)
    reasons: dict[Node, list[str]] = defaultdict(list)
    for node, why in fixed:
        reasons[scaled_together.root(node)].append(why)
    members: dict[Node, Group] = defaultdict(Group)
    for node in graph.graph.nodes:
        if node in own:
            members[scaled_together.root(node)].nodes.append(node)
        if (part := graphs.layer(graph, node)) is not None:
            members[scaled_together.root(node)].makers[node] = part
            members[scaled_together.root(node.all_input_nodes[0])].users[node] = part
    made = {key: group for key, group in members.items() if group.makers}
    free = [
        _numbered(g, own, channels) for key, g in made.items() if g.users and key not in reasons
    ]
    return free, [
        f"beside {' and '.join(sorted(set(reasons[key])))}, which scales cannot pass"
        for key in made
        if key in reasons and set(reasons[key]) != {_OUTPUT}
    ]


def _described(graph: "GraphModule", node: "Node") -> str:
    """Return what a node is, for messages."""
    part = graphs.submodule(graph, node)
    if (found := graphs.layer(graph, node)) is not None:
        kind = type(found).__name__
        return f"a {kind} called twice" if graphs.is_dense(found) else f"a grouped {kind}"
    if node.op in {"output", "placeholder", "get_attr"}:
        return {"output": _OUTPUT, "placeholder": "the input"}.get(node.op, "a constant")
    return (
        type(part).__name__
        if part is not None
        else str(getattr(node.target, "__name__", node.target))
    )


def _new(channels: UnionFind[int], count: int) -> "NDArray[np.int64]":
    """Return so many channels that belong to no others yet."""
    numbers = range(len(channels), len(channels) + count)
    return np.array([channels.root(number) for number in numbers], np.int64)


def _passed_through(
    graph: "GraphModule",
    node: "Node",
    given: "Sequence[NDArray[np.int64] | None]",
    channels: UnionFind[int],
) -> "NDArray[np.int64] | None":
    """Return the channels of an activation that a node makes from others, or None.

    Args:
        graph: The node's.
        node: No layer.
        given: The channels of its sources; None where they cannot be scaled.
        channels: Those of a sum's terms are joined in it.
    """
    known = [each for each in given if each is not None]
    if not known or len(known) < len(given):
        return None
    if graphs.is_concatenation(node):
        return np.concatenate(known)
    if not graphs.keeps_channels(graph, node) or len({len(each) for each in known}) > 1:
        return None
    for other in known[1:]:
        for left, right in zip(known[0].tolist(), other.tolist(), strict=True):
            channels.join(left, right)
    return known[0]


def _numbered(
    group: Group, own: "dict[Node, NDArray[np.int64]]", channels: UnionFind[int]
) -> Group:
    """Return the group with its channels counted from 0."""
    numbers: dict[int, int] = {}
    for node in group.nodes:
        roots = [channels.root(channel) for channel in own[node].tolist()]
        found = [numbers.setdefault(root, len(numbers)) for root in roots]
        group.places[node] = np.array(found, np.int64)
    group.channels = len(numbers)
    return group
