"""Sessions of eager PyTorch."""

from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.models import bundle
from squeeze.runtimes.base import Execution

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from squeeze.runtimes.base import Outputs


def open_session(path: Path, execution: Execution) -> "TorchSession":
    """Load a bundle."""
    return TorchSession(bundle.load(path).module, execution)


class TorchSession:
    """Inference mode, without autocast: weights and inputs are cast to the precision."""

    def __init__(self, module: "nn.Module", execution: Execution) -> None:
        import torch

        self._type = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[
            execution.precision
        ]
        self._device, self._threads = execution.device, execution.threads
        self._before = torch.get_num_threads()
        self._module = module.eval().to(device=self._device, dtype=self._type)

    def prepare(self, images: "NDArray[np.float32]") -> "Tensor":
        """Move the batch to the device; sets the process's thread count too."""
        import torch

        torch.set_num_threads(self._threads)
        return torch.from_numpy(images).to(device=self._device, dtype=self._type)

    def invoke(self, prepared: "Tensor") -> "Outputs":
        """Run one batch; copying the result to the host waits for the GPU."""
        import torch

        with torch.inference_mode():
            found = self._module(prepared)
            if torch.is_tensor(found):
                return found.float().cpu().numpy()
            return tuple(part.float().cpu().numpy() for part in found)

    def close(self) -> None:
        """Restore the thread count and drop the weights."""
        import torch

        torch.set_num_threads(self._before)
        del self._module
