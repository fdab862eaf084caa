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
    crop_fraction: options.CropFraction = None,
    fit: options.Fit = None,
    interpolation: options.Interpolation = None,
    layout: options.Layout = None,
    channel_order: options.ChannelOrder = None,
    threads: options.Threads = 1,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Class names in the order of the model's outputs: a text file with one a line, or "
            "names with commas between. Files of squeeze know them."
        ),
    ] = None,
    quiet: options.Quiet = False,
    json: options.AsJson = False,
    allow_code: options.AllowCode = None,
    debug: options.Debug = False,
) -> None:
    """Measure a file's accuracy in its own runtime.

    How images are prepared is read from the description beside the file or inside it; flags go
    before both.
    """
    del debug, allow_code
    import json as json_module

    from squeeze.cli import console, flag_names
    from squeeze.cli.file import open_file
    from squeeze.core.errors import InputError
    from squeeze.data.splits import Opening, open_data
    from squeeze.measure import accuracy
    from squeeze.recipe.schema import DataBlock, DataSource
    from squeeze.tasks.classification import task as classification
    from squeeze.tasks.detection.task import Detection

    others = {
        "crop_fraction": crop_fraction,
        "fit": fit,
        "interpolation": interpolation,
        "layout": layout,
        "channel_order": channel_order,
    }
    found, terminal = (
        open_file(file, input, mean, std, others=others),
        console.Terminal(quiet=quiet),
    )
    for warning in found.warnings:
        console.note(warning)
    source = DataSource.model_validate(validation)
    if classes is not None:
        source = source.model_copy(update={"classes": _names(classes)})
    opening = Opening(Path.cwd(), found.spec, 0, terminal, classes=found.classes)
    with flag_names.speaking(flag_names.OF_FILES):
        split = open_data(
            DataBlock(validation=source), opening, trains=False, calibrates=False
        ).validation
    found = found.fed(split.spec)
    terminal.say(found.told())
    detector = found.detector()
    task: Task = classification
    if detector is not None or found.ends_at_boxes:
        task = Detection(found.size, detector, found.ends_at_boxes)
    known = len(split.samples.classes)
    if detector is not None and detector.classes != known:
        raise InputError(
            f"knows {detector.classes} classes and the data has {known}",
            where=str(file),
            hint="if the data lacks classes that the model knows, name all in order: --classes",
        )
    session = found.open_session(threads, classes=known if task is classification else None)
    predictions = accuracy.predict(session, split, task, 1, terminal, f"evaluating {file}")
    session.close()
    score = task.score(predictions, split)
    if json:
        record = score.model_dump(mode="json") | {"preprocessing": found.preprocessing()}
        console.out(json_module.dumps(record, indent=1))
        return
    for doubt in score.doubts:
        console.out(f"warning  {file} {doubt}")
    for name, figure in score.figures.items():
        console.out(
            f"{name} {figure.value:.2%} (95 %: {figure.low:.2%} to {figure.high:.2%}), "
            f"{score.samples} samples, {found.runtime}"
        )


def _names(text: str) -> tuple[str, ...]:
    """Read class names from a file or from the text itself.

    Raises:
        InputError: No names, or two equal ones.
    """
    from squeeze.core import reading
    from squeeze.core.errors import InputError

    file = Path(text)
    if reading.is_file(file):
        names = tuple(line for _, line in reading.lines(file))
    else:
        names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names or len(set(names)) < len(names):
        what = "names two classes the same" if names else "found no names"
        raise InputError(what, where=f"--classes {reading.shortened(text)}")
    return names
