"""The flags that say what of a dataset is used and how, beyond the words that name it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from squeeze.cli import completion
from squeeze.core.errors import InputError, unknown_name

if TYPE_CHECKING:
    from squeeze.recipe.schema import DataSource

Classes = Annotated[
    str | None,
    typer.Option(
        "--classes",
        help="Class names in the order of the model's outputs: a text file with one name per line, "
        "or names separated by commas. Bundles and files of squeeze know them.",
    ),
]
OnBadBoxes = Annotated[
    str | None,
    typer.Option(
        "--on-bad-boxes",
        metavar="refuse|repair",
        help="Boxes without area or outside of the picture: refuse the data (default), or cut them "
        "off at the border and leave out what is empty.",
        autocompletion=completion.of(("refuse", "repair")),
    ),
]
OnCorrupt = Annotated[
    str | None,
    typer.Option(
        "--on-corrupt",
        metavar="refuse|skip",
        help="Images that are missing or cannot be decoded: refuse the data (default), or skip "
        "them.",
        autocompletion=completion.of(("refuse", "skip")),
    ),
]
ImageSets = Annotated[
    list[str] | None,
    typer.Option(
        "--image-set",
        metavar="[ROLE=]NAME",
        help="Which images of a voc or yolo dataset, for --validation or, as train=NAME or "
        "calibration=NAME, for the other data; may be repeated.",
    ),
]
_FLAGS = ("classes", "on_bad_boxes", "on_corrupt", "image_set")
_ROLES = ("train", "validation", "calibration")


@dataclass(frozen=True)
class DataFlags:
    """How datasets are read.

    Attributes:
        classes: As given.
        on_bad_boxes: As given.
        on_corrupt: As given.
        image_sets: By role.
    """

    classes: str | None
    on_bad_boxes: str | None
    on_corrupt: str | None
    image_sets: dict[str, str]

    def source(self, text: str, role: str) -> str | dict[str, Any]:
        """Return the data block of a set: its name alone where no flag says more.

        Args:
            text: What names the data, such as ``voc:FOLDER``.
            role: ``train``, ``validation`` or ``calibration``.

        Raises:
            InputError: The class names cannot be used.
        """
        from squeeze.recipe.schema import expand_data_reference

        given = {
            "classes": None if self.classes is None else list(class_names(self.classes)),
            "on_bad_boxes": self.on_bad_boxes,
            "on_corrupt": self.on_corrupt,
            "image_set": self.image_sets.get(role),
        }
        extra = {key: value for key, value in given.items() if value is not None}
        return expand_data_reference(text) | extra if extra else text

    def checked(self, text: str, role: str) -> "DataSource":
        """Return the same, checked as the data block of a recipe is.

        Raises:
            InputError: A flag has a value that is not allowed.
        """
        from pydantic import ValidationError

        from squeeze.recipe import explain
        from squeeze.recipe.schema import DataSource

        try:
            return DataSource.model_validate(self.source(text, role))
        except ValidationError as error:
            item: dict[str, Any] = dict(error.errors()[0])
            key = ".".join(map(str, item["loc"][:1]))
            where = f"--{key.replace('_', '-')}" if key in _FLAGS else f"--{role}"
            raise InputError(explain.rule(item), where=where) from error


NONE = DataFlags(None, None, None, {})


def gathered(
    classes: str | None,
    on_bad_boxes: str | None,
    on_corrupt: str | None,
    image_set: Sequence[str] | None,
) -> DataFlags:
    """Gather the flags.

    Raises:
        InputError: ``--image-set`` names no role, or one twice.
    """
    sets: dict[str, str] = {}
    for text in image_set or ():
        role, equals, name = text.rpartition("=")
        role = role if equals else "validation"
        if role not in _ROLES:
            raise InputError(unknown_name("role", role, _ROLES), where=f"--image-set {text}")
        if role in sets:
            raise InputError(f"is given twice for {role}", where="--image-set")
        sets[role] = name
    return DataFlags(classes, on_bad_boxes, on_corrupt, sets)


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
