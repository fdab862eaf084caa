"""``squeeze eval``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import options

if TYPE_CHECKING:
    from squeeze.tasks.base import Task


def evaluate(
    file: Annotated[Path, typer.Argument(help="A bundle folder, .onnx or .tflite.")],
    validation: Annotated[str, typer.Option(help="Data, named as for squeeze prune.")],
    input: options.Shape = None,
    mean: options.Numbers = None,
    std: options.Numbers = None,
    threads: options.Threads = 1,
    quiet: options.Quiet = False,
    json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Measure a file's accuracy in its own runtime."""
    del debug
    from squeeze.cli import console
    from squeeze.cli.file import open_file
    from squeeze.measure import accuracy
    from squeeze.recipe.schema import DataBlock, DataSource
    from squeeze.sources.data import Opening, open_data
    from squeeze.tasks import classification
    from squeeze.tasks.detection import Detection

    found, terminal = open_file(file, input, mean, std), console.Terminal(quiet=quiet)
    block = DataBlock(validation=DataSource.model_validate(validation))
    split = open_data(
        block, Opening(Path.cwd(), found.spec, 0, terminal), trains=False, calibrates=False
    ).validation
    detector = found.detector()
    task: Task = classification
    if detector is not None or found.ends_at_boxes:
        task = Detection(found.size, detector, found.ends_at_boxes)
    classes = len(split.samples.classes) if task is classification else None
    session = found.open_session(threads, classes=classes)
    predictions = accuracy.predict(session, split, task, 1, terminal, f"evaluating {file}")
    session.close()
    score = task.score(predictions, split)
    if json:
        console.out(score.model_dump_json(indent=1))
        return
    for doubt in score.doubts:
        console.out(f"warning  {file} {doubt}")
    for name, figure in score.figures.items():
        console.out(
            f"{name} {figure.value:.2%} (95 %: {figure.low:.2%} to {figure.high:.2%}), "
            f"{score.samples} samples, {found.runtime}"
        )
