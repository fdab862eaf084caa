"""Read one annotation file of Pascal VOC.

Expat is driven by hand: so every mistake has its line, and a document type, which could define
entities that grow or open files, is refused before it is looked at.
"""

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from xml.parsers import expat

from squeeze.core.errors import InputError

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_OBJECT = ("annotation", "object")


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
        InputError: With file and line: broken XML, a document type, no ``<annotation>``, an object
            without name or corners, corners that are no numbers.
    """
    texts = _Texts(str(file))
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = texts.refuse
    parser.StartElementHandler = lambda tag, _: texts.open(tag, parser.CurrentLineNumber)
    parser.CharacterDataHandler = texts.add
    parser.EndElementHandler = texts.close
    try:
        parser.Parse(file.read_bytes(), True)  # noqa: FBT003
    except expat.ExpatError as error:
        what = expat.errors.messages.get(error.code, str(error))
        raise InputError(f"is broken XML: {what}", where=f"{file}:{error.lineno}") from error
    except (OSError, LookupError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=str(file)) from error
    if texts.root != "annotation":
        raise InputError(f"has root <{texts.root}>, expected <annotation>", where=str(file))
    objects = tuple(_object(line, found, str(file)) for line, found in texts.objects)
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
        raise InputError(f"a corner of this object is no number: {error}", where=where) from None
    difficult = found.get("difficult", "0") not in {"", "0"}
    return VocObject(line, found["name"], (left, top, right, bottom), difficult)


def _size(head: dict[str, str]) -> tuple[int, int] | None:
    """Return height and width; tools that do not know them leave them out or write 0."""
    height, width = head.get("size/height", ""), head.get("size/width", "")
    if height.isdigit() and width.isdigit() and int(height) and int(width):
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
    _text: str = ""

    def refuse(self, name: str, *_: object) -> None:
        raise InputError(f"declares a document type ('{name}'), refused", where=self.file)

    def open(self, tag: str, line: int) -> None:
        self.root = self.root or tag
        self._path.append(tag)
        self._text = ""
        if tuple(self._path) == _OBJECT:
            self.objects.append((line, {}))

    def add(self, text: str) -> None:
        self._text += text

    def close(self, tag: str) -> None:
        del tag
        path, text = tuple(self._path), self._text.strip()
        if path[:2] == _OBJECT:
            self.objects[-1][1].setdefault("/".join(path[2:]), text)
        else:
            self.head.setdefault("/".join(path[1:]), text)
        self._path.pop()
        self._text = ""
