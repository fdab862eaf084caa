"""``squeeze.evaluate``."""

from contextlib import closing
from typing import TYPE_CHECKING

from squeeze.api.data import given_data
from squeeze.api.inputs import at_least_one
from squeeze.api.progress import chosen
from squeeze.api.results import Evaluation
from squeeze.api.sessions import as_given
from squeeze.measure import accuracy

if TYPE_CHECKING:
    from squeeze.api.data import DataLike
    from squeeze.api.inputs import Example
    from squeeze.api.sessions import RunnableModel, Runs
    from squeeze.core.types import Progress
    from squeeze.data.splits import Split


def evaluate(
    model: "Runs",
    data: "DataLike",
    *,
    example: "Example | None" = None,
    threads: int = 1,
    samples: int | None = None,
    seed: int = 0,
    progress: "Progress | bool | None" = None,
) -> Evaluation:
    """Measure the accuracy of a model on labelled images, in the runtime that serves it.

    A module is run by PyTorch; an exported or quantized file by its own runtime.

    Args:
        model: A module in eval mode, a result, a bundle's folder, or an ``.onnx`` or ``.tflite``
            file.
        data: Labelled images; see the module ``squeeze.api.data``.
        example: As for ``export``; needed where neither model nor data tells the input.
        threads: Inside one operator, at least 1.
        samples: At most so many images, drawn by the seed.
        seed: Of that draw.
        progress: True, False, an object of your own, or None: shown in terminals and notebooks.

    Returns:
        Top-1 and top-5, or COCO's precisions, with 95 % intervals, and all predictions.

    Raises:
        InputError: Wrong use: no data, a loader that yields dicts, a module in training mode,
            classes that the model does not know.
        SqueezeError: The outputs hold NaN.

    Example:
        >>> after = squeeze.evaluate(int8, data=val_loader)
        >>> after.accuracy.top1.value
        0.974
        >>> after.against(squeeze.evaluate(model, data=val_loader)).drop
        Estimate(value=0.002, low=-0.006, high=0.01)
    """
    at_least_one(threads, "threads")
    read, shown = given_data(data, "validation"), chosen(progress)
    subject = as_given(model, example, read.shape, threads)
    with closing(subject.session):
        split = read.split(
            subject.input,
            subject.classes,
            shown,
            names=subject.names,
            samples=samples,
            seed=seed,
        )
        return evaluation(subject, split, shown)


def evaluation(
    subject: "RunnableModel", split: "Split", progress: "Progress", name: str = ""
) -> Evaluation:
    """Run an opened model on all samples and score what it predicts.

    Args:
        subject: What is run.
        split: The samples, prepared for it.
        progress: Where progress goes.
        name: What progress calls the model.
    """
    title = f"evaluating {name}".strip()
    predictions = accuracy.predict(
        subject.session, split, subject.task, subject.batch_size, progress, title
    )
    score = subject.task.score(predictions, split)
    return Evaluation(
        score,
        predictions,
        subject.runtime,
        subject.files,
        subject.module,
        (*score.doubts, *subject.notes, *split.notes),
        split,
        subject.task,
    )
