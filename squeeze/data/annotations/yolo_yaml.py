"""Read the ``data.yaml`` that describes a data set in YOLO's form.

``path`` is the folder of the set and ``train``, ``val`` and ``test`` are folders or lists of images
in it; ``names`` are the classes, ``kpt_shape`` is that of key points. Only these are read.
Source: ``check_det_dataset`` in ultralytics/data/utils.py
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from squeeze.core import reading
from squeeze.core.errors import InputError, RecipeError
from squeeze.data.annotations.classes import MOST_CLASSES
from squeeze.recipe import document

FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_UP = "../"
_NUMBER = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True)
class YoloYaml:
    """What a ``data.yaml`` says, and where.

    Attributes:
        folder: The folder that its paths start from.
        content: Its plain data.
        source: The places of its values.
        notes: What a reader should know.
    """

    folder: Path
    content: dict[str, object]
    source: document.SourceMap
    notes: tuple[str, ...] = ()

    def names(self) -> list[str] | None:
        """Return the class names in the order of their numbers; None if it has none.

        Raises:
            InputError: Something else than a list, or a mapping from 0, 1, … without gaps; two
                equal names; another number of them than ``nc``.
        """
        found = self.content.get("names")
        if found is None:
            return None
        if isinstance(found, dict):
            found = self._in_order(found)
        if not isinstance(found, list):
            raise self._wrong(
                f"has names '{reading.shortened(found)}', expected a list, or a mapping from 0, "
                "1, … to names",
                "names",
            )
        for number, name in enumerate(found):
            if not isinstance(name, str | int | float) or not str(name).strip():
                raise self._wrong(f"has no text as name of class {number}", "names")
        names = [str(name).strip() for name in found]
        twice = next((name for name, count in Counter(names).items() if count > 1), None)
        if twice is not None:
            raise self._wrong(f"names two classes '{reading.shortened(twice)}'", "names")
        count = self.content.get("nc", len(names))
        if count != len(names):
            raise self._wrong(f"has nc: {reading.shortened(count)} and {len(names)} names", "nc")
        return names

    def keypoints(self) -> int:
        """Return how many numbers follow the box in a row with key points; 0 without them.

        Raises:
            InputError: ``kpt_shape`` is no pair of a count and 2 or 3.
        """
        shape = self.content.get("kpt_shape")
        if shape is None:
            return 0
        if isinstance(shape, list) and [type(number) for number in shape] == [int, int]:
            count, numbers = shape
            if 0 < count <= MOST_CLASSES and numbers in {2, 3}:
                return int(count * numbers)
        raise self._wrong(
            f"has kpt_shape {reading.shortened(shape)}, expected [count, 2] or [count, 3]",
            "kpt_shape",
        )

    def images(self, keys: tuple[str, ...]) -> list[Path]:
        """Return the folders and lists of one set; none where no key names it.

        Raises:
            InputError: One is not there, or is no text.
        """
        key = next((key for key in keys if self.content.get(key) is not None), None)
        if key is None:
            return []
        given = self.content[key]
        return [
            self._place(entry, key) for entry in (given if isinstance(given, list) else [given])
        ]

    def _place(self, entry: object, key: str) -> Path:
        if not isinstance(entry, str) or not entry:
            raise self._wrong(
                f"has {key}: {reading.shortened(entry)}, expected a folder or list", key
            )
        tried = [self.folder / str(entry)]
        if str(entry).startswith(_UP):  # some tools count from a folder that is not in the archive
            tried.append(self.folder / str(entry).removeprefix(_UP))
        for path in tried:
            if reading.exists(path):
                return path
        shown = reading.shortened(entry)
        raise self._wrong(
            f"names '{shown}' as {key}, and there is no {reading.shortened(tried[0])}", key
        )

    def _in_order(self, found: dict[str, object]) -> list[object]:
        if not all(_NUMBER.fullmatch(key) for key in found):
            raise self._wrong("has names by keys that are no class numbers", "names")
        by_number = {int(key): name for key, name in found.items()}
        missing = [n for n in range(max(by_number, default=-1) + 1) if n not in by_number]
        if missing:
            raise self._wrong(
                f"names the classes {', '.join(map(str, sorted(by_number)[:20]))}, but not "
                f"{', '.join(map(str, missing[:20]))}",
                "names",
            )
        return [by_number[number] for number in range(len(by_number))]

    def _wrong(self, what: str, key: str) -> InputError:
        return InputError(what, where=self.source.where((key,)))


def find(root: Path) -> Path | None:
    """Return the description in a folder, if there is one."""
    return next((root / name for name in FILES if reading.is_file(root / name)), None)


def read(file: Path) -> YoloYaml:
    """Read one description.

    Raises:
        InputError: With file and line: no YAML, no mapping, or a ``path`` that is no text.
    """
    text = reading.text(file, reading.YAML_BYTES)
    try:
        content, source, problems = document.read(text, reading.shortened(file))
    except RecipeError as error:
        raise InputError(error.problems[0].what, where=error.problems[0].where) from None
    if problems:
        raise InputError(problems[0].what, where=problems[0].where)
    if not isinstance(content, dict):
        raise InputError("is not a mapping with 'names'", where=source.where(()))
    here, named = file.parent, content.get("path")
    if named is None:
        return YoloYaml(here, content, source)
    if not isinstance(named, str) or not named:
        raise InputError("has no text as path", where=source.where(("path",)))
    if reading.is_folder(here / named):
        return YoloYaml(here / named, content, source)
    note = (
        f"{file.name} names the folder {reading.shortened(named)}, which is not there: paths start "
        "from its own"
    )
    return YoloYaml(here, content, source, (note,))
