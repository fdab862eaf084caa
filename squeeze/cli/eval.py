"""``squeeze eval``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import data_flags, flag_names, options
from squeeze.cli.flag_groups import Switches
from squeeze.cli.measured_files import MeasuredFiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from squeeze.api.data import GivenData
    from squeeze.api.evaluate_files import FileEvaluation
    from squeeze.cli.console import Terminal


def evaluate(
    measured: MeasuredFiles,
    *,
    validation: Annotated[
        str, typer.Option(metavar="DATA", help=f"Labelled images: {options.HELP_DATA}")
    ],
    save_predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Save the predictions for every sample to this .npz or .json file."
        ),
    ] = None,
    task: data_flags.Task = None,
    read: data_flags.DataFlags,
    switches: Switches,
) -> None:
    """Measure the accuracy of files, each in its own runtime.

    How images are prepared is read from the description beside or inside each file; flags override
    it. Several files are compared with the baseline on the same images.
    """
    from squeeze.api import predictions
    from squeeze.api.data import given_data
    from squeeze.cli import console

    data_flags.check_task(task)
    if save_predictions is not None:
        predictions.check(save_predictions, "--save-predictions")
    data = given_data(read.checked(validation, "--validation"), "validation")
    evaluations = _evaluated(measured, data, task, console.Terminal(quiet=switches.quiet))
    if save_predictions is not None:
        predictions.save(save_predictions, evaluations)
    if switches.json:
        shown = {
            "baseline": evaluations[0].case.name,
            "files": [each.to_dict() for each in evaluations],
        }
        console.out(json.dumps(shown, indent=1))
        return
    _print(evaluations)


def _evaluated(
    measured: MeasuredFiles, data: "GivenData", task: str | None, terminal: "Terminal"
) -> "list[FileEvaluation]":
    from squeeze.api import cases
    from squeeze.api.evaluate_files import evaluate_group
    from squeeze.cli import console
    from squeeze.store import scratch

    evaluations: list[FileEvaluation] = []
    with scratch() as folder:
        for group in cases.groups(measured.in_order, measured.settings(), folder):
            for warning in (warning for case in group for warning in case.file.warnings):
                console.note(warning)
            with flag_names.naming_flags(flag_names.OF_FILES):
                evaluations += evaluate_group(group, data, task, terminal)
    return evaluations


def _print(evaluations: "Sequence[FileEvaluation]") -> None:
    from squeeze.cli import console

    for each in evaluations:
        for doubt in each.evaluation.accuracy.doubts:
            console.out(f"warning  {each.case.name} {doubt}")
    if len(evaluations) > 1:
        _print_table(evaluations)
        return
    accuracy = evaluations[0].evaluation.accuracy
    for name, figure in accuracy.figures.items():
        console.out(
            f"{name} {figure.value:.2%} (95 %: {figure.low:.2%} to {figure.high:.2%}), "
            f"{accuracy.samples} samples, {evaluations[0].case.file.place}"
        )


def _print_table(evaluations: "Sequence[FileEvaluation]") -> None:
    from squeeze.cli import console
    from squeeze.tasks import reporting

    cases = [each.case for each in evaluations]
    varying = cases[0].differs(cases)
    rows = []
    for each in evaluations:
        _, figure = each.evaluation.accuracy.headline
        rows.append(
            (
                each.case.name,
                *each.case.differs(cases).values(),
                reporting.percent(figure),
                "" if each.change is None else reporting.points(each.change.drop),
                "" if each.change is None else f"{each.change.agreement.value:.2%}",
            )
        )
    first = evaluations[0]
    samples = first.evaluation.accuracy.samples
    title = f"{samples} samples; change in points against {first.case.name}"
    metric = first.evaluation.task.METRIC
    console.table(("File", *varying, metric, "Change", "Agreement"), rows, title=title)
