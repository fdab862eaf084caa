"""Does an int8 file predict what was trained?"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from squeeze.methods.quantize.qat.matching import TrainedRanges
    from squeeze.runtimes.base import Session
    from squeeze.sources.data import Split

_BATCH = 32


def agreement(session: "Session", trained: "TrainedRanges", images: "Split") -> str:
    """Say on how many images an int8 file predicts the class that its simulation predicts.

    Args:
        session: Of the file; closed afterwards.
        trained: What it was made from.
        images: At most a few hundred, for the report's sake.
    """
    import torch

    simulation = trained.simulation().module.eval()
    same = 0
    for batch, _ in images.batches(_BATCH):
        found = session.invoke(session.prepare(batch)).argmax(1)
        with torch.inference_mode():
            same += int((simulation(torch.from_numpy(batch)).argmax(1).numpy() == found).sum())
    session.close()
    return f"predicts what the trained simulation predicts on {same} of {len(images)} images"
