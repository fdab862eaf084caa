"""Walk an exported graph once, operator by operator, and collect what ties channels together."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from squeeze.pruning.graph.call import Call, shape_of
from squeeze.pruning.graph.coupling import Coupling
from squeeze.pruning.graph.exported import ExportedGraph, operator, owner
from squeeze.pruning.graph.grouping import OUTPUT
from squeeze.pruning.graph.labels import Labelled
from squeeze.pruning.graph.rules import RULES, elementwise

if TYPE_CHECKING:
    from torch.fx import Node

_MADE = {
    "new_zeros": 0,
    "zeros_like": 0,
    "new_ones": 1,
    "ones_like": 1,
    "new_empty": 0,
    "empty_like": 0,
}
_INLINED = {"wrap_with_autocast", "wrap_with_set_grad_enabled"}
"""Operators that hold a graph of their own."""
_LARGEST = 1 << 24
"""Elements of a constant that are still worked out."""


@dataclass
class Walk:
    """The state of a walk.

    Attributes:
        graph: What is walked.
        picks: Paths of layers that pick channels by numbers of their own, to whether both of their
            sides lose channels at once.
        coupling: What is found.
        sides: Path of such a layer to the labels of its input and output channels.
    """

    graph: ExportedGraph
    picks: Mapping[str, bool]
    coupling: Coupling = field(default_factory=Coupling)
    sides: "dict[str, tuple[Labelled, Labelled]]" = field(default_factory=dict)
    _known: "dict[Node, Any]" = field(default_factory=dict)

    def run(self) -> None:
        """Visit every node; values that nobody needs any more are dropped."""
        nodes = list(self.graph.graph.nodes)
        last = {own: node for node in nodes for own in node.all_input_nodes}
        ends = _ends(nodes, self.picks)
        kept = {_source(nodes, path) for path in ends.values()}
        for node in nodes:
            if node.op == "placeholder":
                self._known[node] = self._input(node)
            elif node.op == "call_function":
                self._visit(node)
                if node in ends:
                    self._pick(node, ends[node])
            elif node.op == "output":
                for value in Call(
                    node, "output", self._tree(node.args), {}, self.coupling
                ).tensors():
                    for labels in value.maps:
                        self.coupling.stay(labels, OUTPUT)
            for own in node.all_input_nodes:
                if last[own] is node and own not in kept:
                    self._known.pop(own, None)

    def _input(self, node: "Node") -> Labelled:
        import torch

        value = node.meta.get("val")
        shape = shape_of(value) if torch.is_tensor(value) else ()
        if node.name in self.graph.constants:
            return Labelled(shape, fixed=True, value=self.graph.constants[node.name])
        if node.name not in self.graph.paths or not node.users:
            return Labelled(shape)
        path = self.graph.paths[node.name]
        maps = []
        for dim, size in enumerate(shape):
            if size > 1:
                own = self.coupling.side(path, dim, size)
                view = [1] * len(shape)
                view[dim] = size
                maps.append(torch.from_numpy(own.labels).reshape(view))
        return Labelled(shape, tuple(maps), learned=True, path=path)

    def _visit(self, node: "Node") -> None:
        name = operator(node)
        if name == "getitem":
            source: Any = node.args[0]
            self._known[node] = self._known[source][node.args[1]]
            return
        if name in _INLINED:
            self._inline(node)
            return
        if name.startswith(("_assert", "sym_")) or not _holds_tensors(node):
            return
        args, kwargs = self._tree(node.args), self._tree(node.kwargs)
        call = Call(
            node,
            name.rstrip("_") if not name.endswith("__") else name,
            args,
            kwargs,
            self.coupling,
            rewritable=owner(node) in self.picks,
        )
        constant = _constant(call)
        if constant is not None:
            self._known[node] = constant
            return
        self._known[node] = _followed(call)
        if name.endswith("_") and not name.endswith("__"):
            self._written(node)

    def _inline(self, node: "Node") -> None:
        """Walk the graph of a block under a context, such as one without autocast."""
        every: Any = node.args
        place = next(i for i, own in enumerate(every) if getattr(own, "op", "") == "get_attr")
        inside: Any = getattr(node.graph.owning_module, every[place].target)
        values = iter(self._tree(every[place + 1 :]))
        for own in inside.graph.nodes:
            if own.op == "placeholder":
                self._known[own] = next(values)
            elif own.op == "call_function":
                self._visit(own)
            elif own.op == "output":
                self._known[node] = self._tree(own.args[0])

    def _written(self, node: "Node") -> None:
        """Let a tensor that was written into, and those it is a view of, hold what was written."""
        target: Any = node.args[0]
        found = self._known[node]
        before = self._known.get(target)
        self._known[target] = found
        if isinstance(before, Labelled) and not before.maps and found.maps:
            base = target
            while base.op == "call_function" and base.all_input_nodes:
                base = base.all_input_nodes[0]
                value = self._known.get(base)
                if isinstance(value, Labelled):
                    self._known[base] = replace(value, maps=(), fixed=True, value=None)
                for labels in found.maps:
                    self.coupling.stay(labels, "is written into another tensor")

    def _pick(self, node: "Node", path: str) -> None:
        """Note both sides of a layer that picks channels, and part them where they go alone."""
        made = self._known[node]
        before = self._known[_source(list(self.graph.graph.nodes), path)]
        if not self.picks[path]:
            view = [1, -1, *[1] * (len(made.shape) - 2)]
            labels = self.coupling.fresh(made.shape[1]).reshape(view)
            made = self._known[node] = Labelled(made.shape, (labels,), fixed=False)
        self.sides[path] = (before, made)

    def _tree(self, tree: Any) -> Any:  # noqa: ANN401
        if isinstance(tree, list | tuple):
            items = [self._tree(item) for item in tree]
            return tuple(items) if isinstance(tree, tuple) else items
        if isinstance(tree, dict):
            return {key: self._tree(item) for key, item in tree.items()}
        return self._known.get(tree, tree) if hasattr(tree, "op") else tree


def _followed(call: Call) -> Any:  # noqa: ANN401
    """Follow a call by its operator's rule; what a rule is not made for, nothing is cut through."""
    import torch

    rule = RULES.get(call.name)
    if rule is None and torch.Tag.pointwise in getattr(call.node.target, "tags", ()):
        rule = elementwise.pointwise
    if rule is None:
        return call.unknown()
    try:
        return rule(call)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return call.unknown()


def _holds_tensors(node: "Node") -> bool:
    import torch

    made = node.meta.get("val")
    every = made if isinstance(made, list | tuple) else [made]
    return any(torch.is_tensor(one) for one in every)


def _ends(nodes: "list[Node]", picks: Mapping[str, bool]) -> "dict[Node, str]":
    """Return the last node of every layer that picks channels."""
    last = {owner(node): node for node in nodes if owner(node) in picks}
    return {node: path for path, node in last.items()}


def _source(nodes: "list[Node]", path: str) -> "Node":
    """Return what a layer that picks channels is called with."""
    return next(
        arg
        for node in nodes
        if owner(node) == path
        for arg in node.all_input_nodes
        if owner(arg) != path and arg.op == "call_function"
    )


def _constant(call: Call) -> Labelled | None:
    """Work out what depends on no input and no parameter."""
    import torch

    is_one = torch.is_tensor(call.node.meta.get("val"))
    if not is_one or math.prod(call.shape) > _LARGEST:
        return None
    if call.name in _MADE:
        value = torch.full(call.shape, _MADE[call.name], dtype=call.node.meta["val"].dtype)
        return Labelled(call.shape, fixed=True, value=value)
    if call.name in {"new_full", "full_like"}:
        fill = call.args[2 if call.name == "new_full" else 1]
        return Labelled(call.shape, fixed=True, value=torch.full(call.shape, fill))
    is_random = "rand" in call.name or call.name in {"bernoulli", "multinomial", "normal"}
    if is_random or any(own.value is None for own in call.tensors()):
        return None
    run: Any = call.node.target
    value = run(*_values(call.args), **_values(call.kwargs))
    return Labelled(call.shape, fixed=True, value=value)


def _values(tree: Any) -> Any:  # noqa: ANN401
    if isinstance(tree, Labelled):
        return tree.value
    if isinstance(tree, list | tuple):
        items = [_values(item) for item in tree]
        return tuple(items) if isinstance(tree, tuple) else items
    if isinstance(tree, dict):
        return {key: _values(item) for key, item in tree.items()}
    return tree
