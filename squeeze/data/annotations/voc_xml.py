"""Read one annotation file of Pascal VOC.

Expat is driven by hand: so every mistake has its line, and a document type, which could define
entities that grow or open files, is refused before it is looked at.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from xml.parsers import expat

from squeeze.core import reading
from squeeze.core.errors import InputError

_MOST_BYTES = 64 * reading.MIB
_DEEPEST = 100
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_OBJECT = ("annotation", "object")
_FLAGS = {"": False, "0": False, "false": False, "unspecified": False, "1": True, "true": True}
_SIDE = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class VocObject:
    """One ``<object>``: its line, class, corners as they stand there, and whether difficult."""

    line: int
    name: str
    corners: tuple[float, float, float, float]
    difficult: bool


@dataclass(frozen=True)
class VocFile:
    """One annotation file: the image's name and size (height, width), and the objects."""

    filename: str
    size: tuple[int, int] | None
    objects: tuple[VocObject, ...]


def read(file: Path) -> VocFile:
    """Parse one file.

    Raises:
        InputError: With file and line: broken XML, a document type, deep nesting, no
            ``<annotation>``, an object without name or corners, corners that are no numbers.
    """
    where = reading.shortened(file)
    content = reading.file_bytes(file, _MOST_BYTES)
    texts = _Texts(where)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = texts.refuse
    parser.StartElementHandler = lambda tag, _: texts.open(tag, parser.CurrentLineNumber)
    parser.CharacterDataHandler = texts.add
    parser.EndElementHandler = texts.close
    try:
        parser.Parse(content, True)  # noqa: FBT003
    except expat.ExpatError as error:
        what = expat.errors.messages.get(error.code, str(error))
        raise InputError(f"is broken XML: {what}", where=f"{where}:{error.lineno}") from error
    except (LookupError, ValueError) as error:  # an encoding that is not known
        raise InputError(f"cannot be read: {reading.reason(error)}", where=where) from error
    if texts.root != "annotation":
        root = reading.shortened(texts.root)
        raise InputError(f"has root <{root}>, expected <annotation>", where=where)
    objects = tuple(_object(line, found, where) for line, found in texts.objects)
    # some tools write a whole path here, of the machine where the picture was annotated
    filename = PurePosixPath(texts.head.get("filename", "").replace("\\", "/")).name
    return VocFile(filename or f"{file.stem}.jpg", _size(texts.head), objects)


def _object(line: int, found: dict[str, str], file: str) -> VocObject:
    where = f"{file}:{line}"
    missing = [key for key in ("name", *(f"bndbox/{c}" for c in _CORNERS)) if not found.get(key)]
    if missing:
        raise InputError(f"this object has no <{missing[0]}>", where=where)
    try:
        left, top, right, bottom = (float(found[f"bndbox/{corner}"]) for corner in _CORNERS)
    except ValueError as error:
        what = f"a corner of this object is not a number: {reading.reason(error)}"
        raise InputError(what, where=where) from None
    text = found.get("difficult", "")
    difficult = _FLAGS.get(text.lower())
    if difficult is None:
        shown = reading.shortened(text)
        raise InputError(f"this object has difficult '{shown}', expected 0 or 1", where=where)
    return VocObject(line, found["name"], (left, top, right, bottom), difficult)


def _size(head: dict[str, str]) -> tuple[int, int] | None:
    """Return height and width; tools that do not know them leave them out or write 0."""
    height, width = head.get("size/height", ""), head.get("size/width", "")
    if _SIDE.fullmatch(height) and _SIDE.fullmatch(width) and int(height) and int(width):
        return int(height), int(width)
    return None


@dataclass
class _Texts:
    """Collects the texts of the elements that matter, by their path."""

    file: str
    root: str = ""
    head: dict[str, str] = field(default_factory=dict)
    objects: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    _path: list[str] = field(default_factory=list)
    _parts: list[str] = field(default_factory=list)

    def refuse(self, name: str, *_: object) -> None:
        what = f"declares a document type ('{reading.shortened(name)}'), refused"
        raise InputError(what, where=self.file)

    def open(self, tag: str, line: int) -> None:
        self.root = self.root or tag
        self._path.append(tag)
        self._parts.clear()
        if len(self._path) > _DEEPEST:
            raise InputError(
                f"nests elements more than {_DEEPEST} deep", where=f"{self.file}:{line}"
            )
        if tuple(self._path) == _OBJECT:
            self.objects.append((line, {}))

    def add(self, text: str) -> None:
        self._parts.append(text)

    def close(self, tag: str) -> None:
        del tag
        path, text = tuple(self._path), "".join(self._parts).strip()
        if path[:2] == _OBJECT:
            self.objects[-1][1].setdefault("/".join(path[2:]), text)
        else:
            self.head.setdefault("/".join(path[1:]), text)
        self._path.pop()
        self._parts.clear()
