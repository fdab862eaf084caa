"""``squeeze eval``."""

import json as json_format
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from squeeze.cli import completion, data_flags, options
from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from squeeze.cli.cases import Case
    from squeeze.cli.console import Terminal
    from squeeze.cli.predictions import CasePredictions
    from squeeze.data.splits import Split
    from squeeze.measure.evaluator import Predictions
    from squeeze.results import AccuracyBlock, ChangeBlock
    from squeeze.tasks.base import Task

_TASKS = ("classification", "detection")


@dataclass(frozen=True)
class FileEvaluation:
    """The accuracy of one file.

    Attributes:
        case: What was run.
        split: What it was run on, as it was fed.
        task: How its outputs were read.
        predictions: What was read from them.
        accuracy: The score.
        change: Against the baseline; None for the baseline itself.
    """

    case: "Case"
    split: "Split"
    task: "Task"
    predictions: "Predictions"
    accuracy: "AccuracyBlock"
    change: "ChangeBlock | None" = None

    def plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        return self.case.plain() | {
            "accuracy": self.accuracy.model_dump(mode="json"),
            "change": None if self.change is None else self.change.model_dump(mode="json"),
            "preprocessing": self.case.file.preprocessing(),
        }


@dataclass(frozen=True)
class DataToRead:
    """The data that files are evaluated on.

    Attributes:
        text: Names it.
        flags: Say how it is read.
        task: What the labels must be; None where the file decides.
    """

    text: str
    flags: data_flags.DataFlags
    task: str | None


def evaluate(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Bundle folders, .onnx or .tflite files."),
    ],
    validation: Annotated[
        str, typer.Option(metavar="DATA", help=f"Labelled images: {options.HELP_DATA}")
    ],
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File to compare the others with. Default: the first of several."
        ),
    ] = None,
    target: options.Targets = None,
    threads: options.EveryThreads = None,
    batch_size: options.EveryBatchSize = None,
    save_predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Save the predictions for every sample to this .npz or .json file."
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="classification or detection; an error if the files are made for the other one.",
            autocompletion=completion.of(_TASKS),
        ),
    ] = None,
    classes: data_flags.Classes = None,
    on_bad_boxes: data_flags.OnBadBoxes = None,
    on_corrupt: data_flags.OnCorrupt = None,
    image_set: data_flags.ImageSets = None,
    input: options.Shape = None,
    mean: options.Mean = None,
    std: options.Std = None,
    crop_fraction: options.CropFraction = None,
    fit: options.Fit = None,
    interpolation: options.Interpolation = None,
    layout: options.Layout = None,
    channel_order: options.ChannelOrder = None,
    quiet: options.Quiet = False,
    json: options.AsJson = False,
    allow_code: options.AllowCode = None,
    debug: options.Debug = False,
) -> None:
    """Measure the accuracy of files, each in its own runtime.

    How images are prepared is read from the description beside or inside each file; flags override
    it. Several files are compared with the baseline on the same images.
    """
    del debug, allow_code
    from squeeze.cli import cases, console, predictions
    from squeeze.cli.file import open_file
    from squeeze.store import scratch

    others = {
        "crop_fraction": crop_fraction,
        "fit": fit,
        "interpolation": interpolation,
        "layout": layout,
        "channel_order": channel_order,
    }
    predictions.check(save_predictions)
    read = data_flags.gathered(classes, on_bad_boxes, on_corrupt, image_set)
    terminal = console.Terminal(quiet=quiet)
    wanted = cases.Settings(target or (), threads or (1,), batch_size or (1,))
    opened = partial(open_file, shape=input, mean=mean, std=std, others=others)
    with scratch() as folder:
        exports = cases.BundleExports(opened, folder)
        groups = cases.groups(cases.with_baseline(files, baseline), wanted, exports)
        data = DataToRead(validation, read, task)
        found = [each for group in groups for each in _evaluated(group, data, terminal)]
    if save_predictions is not None:
        predictions.save(save_predictions, [_in_pictures(each) for each in found])
    if json:
        shown = {"baseline": found[0].case.name, "files": [each.plain() for each in found]}
        console.out(json_format.dumps(shown, indent=1))
        return
    _print(found)


def _evaluated(
    group: "Sequence[Case]", data: DataToRead, terminal: "Terminal"
) -> Iterator[FileEvaluation]:
    """Evaluate the files of a group, the baseline first."""
    from dataclasses import replace

    from squeeze.cli.cases import reference

    done: list[FileEvaluation] = []
    for case in group:
        found = _one(case, data, terminal)
        first = next((each for each in done if each.case.same_run(reference(case, group))), None)
        if first is not None and _is_comparable(first, found):
            change = found.task.compare(first.predictions, found.predictions, found.split)
            found = replace(found, change=change)
        done.append(found)
        yield found


def _one(case: "Case", data: DataToRead, terminal: "Terminal") -> FileEvaluation:
    """Run one file on all images."""
    from dataclasses import replace

    from squeeze.cli import console
    from squeeze.measure import accuracy

    for warning in case.file.warnings:
        console.note(warning)
    split = _split(case, data, terminal)
    case = replace(case, file=case.file.fed(split.spec))
    terminal.say(case.file.summary())
    task = _task(case, len(split.samples.classes), data.task)
    known = len(split.samples.classes) if task.METRIC == "top-1" else None
    with closing(case.open_session(classes=known)) as session:
        predictions = accuracy.predict(
            session, split, task, case.batch_size, terminal, f"evaluating {case.name}"
        )
    return FileEvaluation(case, split, task, predictions, task.score(predictions, split))


def _split(case: "Case", data: DataToRead, terminal: "Terminal") -> "Split":
    from squeeze.cli import flag_names
    from squeeze.data.sets import Opening, open_data
    from squeeze.recipe.schema import DataBlock

    opening = Opening(Path.cwd(), case.file.spec, 0, terminal, classes=case.file.classes)
    with flag_names.speaking(flag_names.OF_FILES):
        source = data.flags.checked(data.text, "validation")
        block = DataBlock(validation=source)
        return open_data(block, opening, trains=False, calibrates=False).validation


def _task(case: "Case", known: int, wanted: str | None) -> "Task":
    """Return how the file's outputs are read.

    Raises:
        InputError: It is made for another task, or knows another number of classes.
    """
    from squeeze.tasks import open_task
    from squeeze.tasks.detection.task import Detection

    detector = case.file.detector()
    is_detector = detector is not None or case.file.ends_at_boxes
    if wanted is not None and wanted not in _TASKS:
        from squeeze.core.errors import unknown_name

        raise InputError(unknown_name("task", wanted, _TASKS), where="--task")
    if wanted == "detection" and not is_detector:
        raise InputError(
            "has no description that says how boxes are read from its outputs",
            where=case.name,
            hint="evaluate a bundle or a file that squeeze exported",
        )
    if wanted == "classification" and is_detector:
        raise InputError("is a detector", where=case.name, hint="leave --task out")
    if not is_detector:
        return open_task("classification", case.file.spec)
    if detector is not None and detector.classes != known:
        raise InputError(
            f"knows {detector.classes} classes and the data has {known}",
            where=case.name,
            hint="if the data lacks some of the model's classes, name all with --classes",
        )
    return Detection(case.file.size, detector, case.file.ends_at_boxes)


def _is_comparable(first: FileEvaluation, other: FileEvaluation) -> bool:
    """Whether two files were asked the same; detections also have to be in the same pixels."""
    same = first.split.samples.classes == other.split.samples.classes
    same = same and first.task.METRIC == other.task.METRIC
    if not other.split.has_boxes:
        return same
    specs = (first.split.spec, other.split.spec)
    return same and specs[0].shape == specs[1].shape and specs[0].fit == specs[1].fit


def _in_pictures(found: FileEvaluation) -> "CasePredictions":
    """Return predictions with boxes in pixels of the pictures."""
    from squeeze.cli.predictions import CasePredictions

    shown = found.predictions
    if found.split.has_boxes:
        shown = [each.back(found.split.placement(p)) for p, each in enumerate(shown)]
    return CasePredictions(found.case, found.split, shown)


def _print(found: Sequence[FileEvaluation]) -> None:
    from squeeze.cli import console

    for each in found:
        for doubt in each.accuracy.doubts:
            console.out(f"warning  {each.case.name} {doubt}")
    if len(found) > 1:
        _print_table(found)
        return
    accuracy = found[0].accuracy
    for name, figure in accuracy.figures.items():
        console.out(
            f"{name} {figure.value:.2%} (95 %: {figure.low:.2%} to {figure.high:.2%}), "
            f"{accuracy.samples} samples, {found[0].case.file.place}"
        )


def _print_table(found: Sequence[FileEvaluation]) -> None:
    from squeeze.cli import console
    from squeeze.tasks import reporting

    everything = [each.case for each in found]
    varying = everything[0].differs(everything)
    metric = found[0].task.METRIC
    rows = []
    for each in found:
        _, figure = each.accuracy.headline
        change = "" if each.change is None else reporting.points(each.change.drop)
        rows.append(
            (
                each.case.name,
                *each.case.differs(everything).values(),
                f"{figure.value:.2%} [{figure.low:.2%}, {figure.high:.2%}]",
                change,
                "" if each.change is None else f"{each.change.agreement:.2%}",
            )
        )
    title = f"{found[0].accuracy.samples} samples; change in points against {found[0].case.name}"
    console.table(("File", *varying, metric, "Change", "Agreement"), rows, title=title)
