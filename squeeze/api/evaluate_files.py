"""The accuracy of several files in several settings, compared with a baseline."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from squeeze.api.cases import reference
from squeeze.api.evaluate import evaluation
from squeeze.api.sessions import of_file
from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from squeeze.api.cases import Case
    from squeeze.api.data import GivenData
    from squeeze.api.results import Evaluation
    from squeeze.api.sessions import RunnableModel
    from squeeze.core.types import Progress
    from squeeze.data.splits import Split
    from squeeze.results import ChangeBlock


@dataclass(frozen=True)
class FileEvaluation:
    """The accuracy of one file.

    Attributes:
        case: What was run, as it was fed.
        evaluation: What was measured.
        change: Against the baseline; None for the baseline itself.
    """

    case: "Case"
    evaluation: "Evaluation"
    change: "ChangeBlock | None" = None

    def to_dict(self) -> dict[str, object]:
        """Return plain data."""
        return self.case.settings() | {
            "accuracy": self.evaluation.accuracy.model_dump(mode="json"),
            "change": None if self.change is None else self.change.model_dump(mode="json"),
            "preprocessing": self.case.file.preprocessing(),
        }


def evaluate_group(
    group: "Sequence[Case]", data: "GivenData", task: str | None, progress: "Progress"
) -> Iterator[FileEvaluation]:
    """Evaluate files on the same data, the baseline first.

    Args:
        group: See ``cases.groups``.
        data: Labelled images.
        task: What the files have to be made for; None takes either.
        progress: Where progress goes.

    Raises:
        InputError: A file does not run on its input, or is made for other data.
    """
    done: list[FileEvaluation] = []
    for case in group:
        evaluated = _evaluated(case, data, task, progress)
        first = next((each for each in done if each.case.same_run(reference(case, group))), None)
        if first is not None and _is_comparable(first, evaluated):
            one, other = first.evaluation, evaluated.evaluation
            change = other.task.compare(one.predictions, other.predictions, other.samples)
            evaluated = replace(evaluated, change=change)
        done.append(evaluated)
        yield evaluated


def _evaluated(
    case: "Case", data: "GivenData", task: str | None, progress: "Progress"
) -> FileEvaluation:
    """Run one file on all images."""
    split = data.split(case.file.spec, None, progress, names=case.file.classes)
    case = replace(case, file=case.file.fed(split.spec))
    progress.say(case.file.summary())
    subject = of_file(case.file, case.threads, task)
    with closing(subject.session):
        _check_classes(case, subject, split)
        subject = replace(subject, batch_size=case.batch_size)
        return FileEvaluation(case, evaluation(subject, split, progress, case.name))


def _check_classes(case: "Case", subject: "RunnableModel", split: "Split") -> None:
    """Refuse data of other classes than the file knows.

    Raises:
        InputError: The data has more or fewer.
    """
    known, mismatch = len(split.samples.classes), ""
    if case.file.detector is not None and subject.classes != known:
        mismatch = f"knows {subject.classes} classes"
    elif not case.file.detects and subject.outputs != ((known,),):
        mismatch = f"gives outputs {', '.join(map(str, subject.outputs))}"
    if mismatch:
        what = f"{mismatch} and the data has {known} classes"
        raise InputError(what, where=case.name, hint=case.file.wording.classes)


def _is_comparable(first: FileEvaluation, other: FileEvaluation) -> bool:
    """Whether two files were asked the same; detections also have to be in the same pixels."""
    splits = (first.evaluation.samples, other.evaluation.samples)
    same = splits[0].samples.classes == splits[1].samples.classes
    same = same and first.evaluation.task.METRIC == other.evaluation.task.METRIC
    if not splits[1].has_boxes:
        return same
    specs = (splits[0].spec, splits[1].spec)
    return same and specs[0].shape == specs[1].shape and specs[0].fit == specs[1].fit
