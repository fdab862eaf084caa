"""The flags that say what of a dataset is used and how, beyond the words that name it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from squeeze.cli import completion
from squeeze.core import plugins
from squeeze.core.errors import InputError, unknown_name

if TYPE_CHECKING:
    from squeeze.recipe.schema import DataSource

Role = Literal["train", "validation", "calibration"]

Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="TASK",
        help="classification or detection; an error if the model is made for the other one.",
        autocompletion=completion.of_group(plugins.TASKS),
    ),
]
_ROLES = ("train", "validation", "calibration")
_FLAGS = ("classes", "on_bad_boxes", "on_corrupt", "image_set")


@dataclass(frozen=True, kw_only=True)
class DataFlags:
    """How datasets are read."""

    classes: Annotated[
        str | None,
        typer.Option(
            help="Class names in the order of the model's outputs: a text file with one name per "
            "line, or names separated by commas. Bundles and files of squeeze know them.",
        ),
    ] = None
    on_bad_boxes: Annotated[
        str | None,
        typer.Option(
            metavar="refuse|repair",
            help="Boxes without area or outside of the picture: refuse the data (default), or cut "
            "them off at the border and leave out what is empty.",
            autocompletion=completion.of(("refuse", "repair")),
        ),
    ] = None
    on_corrupt: Annotated[
        str | None,
        typer.Option(
            metavar="refuse|skip",
            help="Images that are missing or cannot be decoded: refuse the data (default), or skip "
            "them.",
            autocompletion=completion.of(("refuse", "skip")),
        ),
    ] = None
    image_set: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[ROLE=]NAME",
            help="Which images of a voc or yolo dataset, for --validation or, as train=NAME or "
            "calibration=NAME, for the other data; may be repeated.",
        ),
    ] = None

    def source(self, text: str, role: Role) -> str | dict[str, object]:
        """Return the data block of a set: its name alone where no flag says more.

        Args:
            text: What names the data, such as ``voc:FOLDER``.
            role: What the data is for.

        Raises:
            InputError: The class names cannot be used, or an image set is for no data.
        """
        from squeeze.recipe.schema import expand_data_reference

        given = {
            "classes": None if self.classes is None else list(class_names(self.classes)),
            "on_bad_boxes": self.on_bad_boxes,
            "on_corrupt": self.on_corrupt,
            "image_set": self._image_sets().get(role),
        }
        extra = {key: value for key, value in given.items() if value is not None}
        return {**expand_data_reference(text), **extra} if extra else text

    def checked(self, text: str, flag: str) -> "DataSource":
        """Return the data block of images to measure on, checked as that of a recipe is.

        Args:
            text: What names the data.
            flag: That gave it.

        Raises:
            InputError: A flag has a value that is not allowed, or the format lacks something.
        """
        from pydantic import ValidationError

        from squeeze.recipe import dataset_formats, explain
        from squeeze.recipe.schema import DataSource

        try:
            source = DataSource.model_validate(self.source(text, "validation"))
        except ValidationError as error:
            item = error.errors()[0]
            raise InputError(explain.rule(dict(item)), where=_flag(item["loc"], flag)) from error
        for place, what in dataset_formats.mistakes(source):
            raise InputError(what, where=_flag(place, flag))
        return source

    def _image_sets(self) -> dict[str, str]:
        """Return the image sets by role."""
        sets: dict[str, str] = {}
        for text in self.image_set or ():
            role, equals, name = text.rpartition("=")
            role = role if equals else "validation"
            if role not in _ROLES:
                raise InputError(unknown_name("role", role, _ROLES), where=f"--image-set {text}")
            if role in sets:
                raise InputError(f"is given twice for {role}", where="--image-set")
            sets[role] = name
        return sets


def _flag(place: tuple[int | str, ...], default: str) -> str:
    """Return the flag that sets a key of a data block, or the one that names the data."""
    key = str(place[0]) if place else ""
    return f"--{key.replace('_', '-')}" if key in _FLAGS else default


def class_names(text: str) -> tuple[str, ...]:
    """Read class names from a file or from the text itself.

    Raises:
        InputError: No names, or two equal ones.
    """
    from squeeze.core import reading

    file = Path(text)
    if reading.is_file(file):
        names = tuple(line for _, line in reading.lines(file))
    else:
        names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names or len(set(names)) < len(names):
        what = "names two classes the same" if names else "found no names"
        raise InputError(what, where=f"--classes {reading.shortened(text)}")
    return names


def check_task(name: str | None) -> None:
    """Refuse the name of a task that there is not.

    Raises:
        InputError: No task has it.
    """
    if name is not None and name not in plugins.names(plugins.TASKS):
        what = unknown_name("task", name, plugins.names(plugins.TASKS))
        raise InputError(what, where="--task")
