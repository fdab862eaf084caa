"""How often an int8 file predicts what its simulation predicts."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from squeeze.data.splits import Split
    from squeeze.quantization.qat.matching import TrainedRanges
    from squeeze.runtimes.base import Session
    from squeeze.tasks.base import Task

_BATCH = 32


def agreement(session: "Session", trained: "TrainedRanges", images: "Split", task: "Task") -> str:
    """Say how much of what its simulation predicts an int8 file predicts too.

    Args:
        session: Of the file; closed afterwards.
        trained: What it was made from.
        images: At most a few hundred.
        task: Reads the outputs.
    """
    import torch

    simulation = trained.simulation().module.eval()
    shares, counts = [], []
    for batch, _ in images.batches(_BATCH):
        found = task.predictions(session.invoke(session.prepare(batch)))
        with torch.inference_mode():
            outputs = simulation(torch.from_numpy(batch))
        expected = (
            outputs.numpy() if torch.is_tensor(outputs) else tuple(x.numpy() for x in outputs)
        )
        shares.append(task.agreement(task.predictions(expected), found))
        counts.append(len(batch))
    session.close()
    share = float(np.average(shares, weights=counts))
    return f"shares {share:.1%} of the trained simulation's predictions on {len(images)} images"
