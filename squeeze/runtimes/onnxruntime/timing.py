"""Seconds by layer of ONNX files, from ONNX Runtime's own profiler."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from squeeze.core.output import redirect_output
from squeeze.runtimes.base import CONVERSIONS, Execution, Seconds
from squeeze.runtimes.onnxruntime import audit, graphs
from squeeze.runtimes.onnxruntime.graphs import Proto
from squeeze.runtimes.onnxruntime.reasons import Graph
from squeeze.runtimes.onnxruntime.session import load_file
from squeeze.store import scratch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WARM_UP, _RUNS = 3, 25
_OF_NODE = "_kernel_time"
_OF_RUN = "model_run"
_RENAMED = re.compile(r"_token_\d+$")  # ONNX Runtime's name for what it made of a file's node


class _Event(TypedDict, total=False):
    """An event of the profiler, as far as it is used; ``dur`` is in microseconds."""

    name: str
    cat: str
    dur: float


def profile(
    paths: Sequence[Path], execution: Execution, images: "NDArray[np.float32]"
) -> list[Seconds]:
    """Run files under the profiler, interleaved.

    Args:
        paths: One float file and those made from it.
        execution: Its threads.
        images: What they are run on.

    Returns:
        Per file the seconds of every run by layer, under the name of the layer's weights, which
        quantizing keeps; nodes that only convert types or layouts together under ``CONVERSIONS``.
    """
    with scratch() as scratch_folder, redirect_output(None):
        folder = Path(scratch_folder)
        optimised = [folder / f"{number}.onnx" for number in range(len(paths))]
        sessions = [
            load_file(path, execution.threads, graph, folder / f"{number}-")
            for number, (path, graph) in enumerate(zip(paths, optimised, strict=True))
        ]
        for _ in range(_WARM_UP + _RUNS):
            for session in sessions:
                session.run(None, {session.get_inputs()[0].name: images})
        events = [Path(session.end_profiling()) for session in sessions]
        return [
            _by_layer(json.loads(found.read_bytes()), _layers(path, graph))
            for found, path, graph in zip(events, paths, optimised, strict=True)
        ]


def _layers(path: Path, optimised: Path) -> dict[str, str]:
    """Return the layer in the file of every node of interest that runs, by the node's name."""
    import onnx

    written = Graph(onnx.load(path, load_external_data=False).graph)
    runs = list(graphs.nodes(onnx.load(optimised, load_external_data=False).graph))
    known = {node.name: (node, each) for each in written.every() for node in each.nodes}
    names = {}
    for node in runs:
        if audit.multiplies(node):
            stem = _RENAMED.sub("", node.name)
            name = stem if stem in known else audit.layer(node, written)
            names[node.name] = _module(*known[name]) if name in known else name
    return names | {node.name: CONVERSIONS for node in runs if audit.converts(node)}


def _module(node: Proto, graph: Graph) -> str:
    """Return the layer that a node's weights are called after; the node's name if after none.

    Nodes are numbered by the exporter, and other numbers may stand in a file that was exported
    again to be quantized; weights keep the module's names.
    """
    weight = str(node.input[1]) if len(node.input) > 1 else ""
    while graph.constant(weight) is None and (made := graph.producer(weight)) is not None:
        weight = str(made.input[0]) if made.input else ""
    if graph.constant(weight) is None:
        return str(node.name)
    return weight.removesuffix("_quantized").removesuffix(".weight")


def _by_layer(events: Iterable[_Event], layers: dict[str, str]) -> Seconds:
    """Add up the events of every run, which end with the run's own event."""
    names = dict.fromkeys(layers.values())
    runs: list[dict[str, float]] = []
    now = dict.fromkeys(names, 0.0)
    for event in events:
        node = str(event["name"]).removesuffix(_OF_NODE)
        if node in layers and event.get("cat") == "Node":
            now[layers[node]] += 1e-6 * float(event["dur"])
        elif event["name"] == _OF_RUN:
            runs.append(now)
            now = dict.fromkeys(names, 0.0)
    return {name: [run[name] for run in runs[_WARM_UP:]] for name in names}
