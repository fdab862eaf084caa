"""Run a torch.fx graph and look at what every node gives: the one interpreter of this package."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from torch.fx import GraphModule, Node

    Look = Callable[["Node", object, tuple[object, ...]], None]
    """``look(node, output, inputs)``, called before a later node can change them in place."""


def runner(graph: "GraphModule", look: "Look") -> "Callable[[Tensor], None]":
    """Return a function that runs the graph on a batch, in inference mode.

    Args:
        graph: A traced module.
        look: Called with every node but the output, what it gives and what its inputs gave.
            Tensors are freed as soon as no later node reads them.
    """
    import torch
    from torch.fx import Interpreter

    class NodeWatcher(Interpreter):  # type: ignore[misc, unused-ignore]
        def run_node(self, n: "Node") -> object:
            output: object = super().run_node(n)
            if n.op != "output":
                known = (source for source in n.all_input_nodes if source in self.env)
                look(n, output, tuple(self.env[source] for source in known))
            return output

    interpreter = NodeWatcher(graph, garbage_collect_values=True)

    def run(images: "Tensor") -> None:
        with torch.inference_mode():
            interpreter.run(images)

    return run
