"""Sessions of programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from squeeze.core.errors import InputError
from squeeze.runtimes.base import Execution, FileInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


def open_session(path: Path, execution: Execution) -> "ProgramSession":
    """Load a program."""
    return ProgramSession(_load(path).module(), execution.threads)


def file_input(path: Path) -> FileInput:
    """Return what a program says of its input."""
    program = _load(path)
    name = program.graph_signature.user_inputs[0]
    entry = next(node for node in program.graph.nodes if node.name == name)
    sides = entry.meta["val"].shape
    return FileInput(tuple(side if isinstance(side, int) else None for side in sides))


def _load(path: Path) -> Any:
    import torch

    try:
        with path.open("rb") as file:
            return torch.export.load(file)
    except Exception as error:
        raise InputError(f"torch.export cannot load it: {error}", where=str(path)) from error


class ProgramSession:
    """One input, one output."""

    def __init__(self, module: Any, threads: int) -> None:
        self._module, self._threads = module, threads

    def prepare(self, images: "NDArray[np.float32]") -> "Tensor":
        """Make a tensor of the batch."""
        import torch

        torch.set_num_threads(self._threads)
        return torch.from_numpy(images)

    def invoke(self, prepared: "Tensor") -> "NDArray[np.float32]":
        """Run one batch."""
        import torch

        with torch.inference_mode():
            found: NDArray[np.float32] = self._module(prepared).numpy()
        return found

    def close(self) -> None:
        """Drop the program."""
        del self._module
