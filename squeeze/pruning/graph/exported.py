"""A module as an exported graph: its tensors by path, and the places of its operations."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from squeeze.core.output import redirect_output
from squeeze.models import written_sizes
from squeeze.pruning import outputs

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.fx import Graph, Node

_PARTS = 3
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in \w+')


@dataclass(frozen=True)
class ExportedGraph:
    """A graph of operators, and what its inputs are.

    Attributes:
        graph: Its nodes.
        paths: Names of inputs that are parameters or buffers to their paths in the module; of
            tensors that have several paths the first.
        constants: Names of inputs whose values are known: index tensors and written numbers.
        factors: Path, call and place to a number that code multiplies with
            (``squeeze.models.written_sizes``).
    """

    graph: "Graph"
    paths: Mapping[str, str]
    constants: "Mapping[str, Tensor]"
    factors: Mapping[tuple[str, str, int], float]

    def read(self) -> "Iterator[tuple[Node, str]]":
        """Yield the parameters and buffers that something reads."""
        for node in self.graph.nodes:
            if node.op == "placeholder" and node.users and node.name in self.paths:
                yield node, self.paths[node.name]

    def order(self) -> dict[str, int]:
        """Return layers by when a visit from the outputs reaches them, last operands first."""
        layers = {node: path.rpartition(".")[0] for node, path in self.read()}
        waiting = [node for node in self.graph.nodes if node.op == "output"]
        found: dict[str, int] = {}
        seen = set()
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            if node in layers:
                found.setdefault(layers[node], len(found))
            own = node.all_input_nodes
            waiting.extend([*(one for one in own if one not in layers)])
            for one in own:
                if one in layers and one not in seen:
                    seen.add(one)
                    found.setdefault(layers[one], len(found))
        return found


def export(module: "nn.Module", example: "tuple[Any, ...]") -> ExportedGraph:
    """Export a module in eval mode on the CPU; it is left as it is.

    Args:
        module: Any module.
        example: Its arguments.
    """
    import torch

    hook = module.register_forward_hook(
        lambda *call: tuple(tensor for _, tensor in outputs.tensors(call[2]))
    )
    try:
        with (
            redirect_output(None),  # torch prints and logs what it cannot follow
            torch.no_grad(),
            written_sizes.numbered(module) as calls,
        ):
            program = torch.export.export(module, example, strict=False)
    finally:
        hook.remove()
    first: dict[int, str] = {}
    own: list[tuple[str, Tensor]] = [*module.named_parameters(remove_duplicate=False)]
    own += [*module.named_buffers(remove_duplicate=False)]
    for path, tensor in own:
        first.setdefault(id(tensor), path)
    tensors = dict(own)
    paths, constants = {}, {}
    for spec in program.graph_signature.input_specs:
        name, target = getattr(spec.arg, "name", ""), spec.target
        if target is None:
            continue
        if target not in tensors:
            constants[name] = program.constants[target]
        elif _counts(tensors[target]):
            constants[name] = tensors[target]
        else:
            paths[name] = first[id(tensors[target])]
    return ExportedGraph(program.graph, paths, constants, calls.numbers)


def _counts(tensor: "Tensor") -> bool:
    """Tell an index or a mask from numbers that go with channels."""
    return not (tensor.is_floating_point() or tensor.is_complex())


def owner(node: "Node") -> str:
    """Return the path of the innermost module whose forward an operation is part of."""
    stack = node.meta.get("nn_module_stack") or {}
    return str(next(reversed(stack.values()), ("", ""))[0])


def place(node: "Node") -> str:
    """Return where an operation stands: its module, and the line in the user's source."""
    stack = node.meta.get("nn_module_stack") or {}
    path, kind = next(reversed(stack.values()), ("", ""))
    kind = getattr(kind, "__name__", str(kind)).rpartition(".")[2]
    module = f"{path or 'the model'} ({kind})" if kind else path or "the model"
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    own = [frame for frame in frames if "/torch/" not in frame[0].replace("\\", "/")]
    if not own:
        return module
    file, line = own[-1]
    return f"{module}, {PurePath(file).name}:{line}"


def operator(node: "Node") -> str:
    """Return an operator's name without namespace and overload: ``conv2d``, ``add_``."""
    parts = str(node.target).split(".")  # aten.conv2d.default
    return parts[1] if len(parts) == _PARTS else getattr(node.target, "__name__", parts[-1])
