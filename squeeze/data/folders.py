"""Look for images below a folder, and remember what else lies there.

Links are followed, as torchvision's ``ImageFolder`` does, but never back into a folder that is
being looked through. What is hidden (``.name``) is skipped.
"""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from squeeze.core import reading
from squeeze.core.errors import InputError
from squeeze.data import image_files

_SHOWN = 5


@dataclass
class Listing:
    """What lies below a folder.

    Attributes:
        files: Those that are looked for, sorted. A link that leads nowhere is one, so that it is
            reported as missing.
        others: How many files of other kinds there are, by suffix.
        hidden: Hidden folders, and hidden files of the kind that is looked for.
        loops: Links back to a folder above.
    """

    files: list[Path] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    hidden: int = 0
    loops: int = 0

    def add(self, other: "Listing") -> None:
        """Add what lies below another folder."""
        self.files += other.files
        self.others += other.others
        self.hidden += other.hidden
        self.loops += other.loops

    def skipped(self) -> tuple[str, ...]:
        """Return a sentence for every kind of entry that is not read."""
        counts = {
            f"{self.others.total()} files are not images of a kind that is read "
            f"({self.kinds()})": self.others.total(),
            f"{self.hidden} hidden files and folders were skipped": self.hidden,
            f"{self.loops} links lead back to a folder above and were not followed": self.loops,
        }
        return tuple(sentence for sentence, count in counts.items() if count)

    def kinds(self) -> str:
        """Return the other files' suffixes, the most frequent first."""
        shown = [f"{suffix} {count}" for suffix, count in self.others.most_common(_SHOWN)]
        return ", ".join(shown) + (", …" if len(self.others) > _SHOWN else "")


def is_image(path: Path) -> bool:
    """Tell by its suffix whether a file is an image that can be read."""
    return path.suffix.lower() in image_files.SUFFIXES


def look_through(
    root: Path, wanted: Callable[[Path], bool] = is_image, *, deep: bool = True
) -> Listing:
    """List what lies below a folder.

    Args:
        root: The folder.
        wanted: Tells by its path whether a file is looked for.
        deep: Go into its sub-folders, too.

    Raises:
        InputError: A folder cannot be read.
    """
    found = Listing()
    waiting: list[tuple[Path, tuple[str, ...]]] = [(root, (os.path.realpath(root),))]
    while waiting:
        folder, above = waiting.pop()
        for entry in _entries(folder):
            path = folder / entry.name
            is_folder = entry.is_dir()
            if is_folder and not deep:
                continue
            if entry.name.startswith("."):
                found.hidden += is_folder or wanted(path)
            elif is_folder:
                real = os.path.realpath(path)
                found.loops += real in above
                if real not in above:
                    waiting.append((path, (*above, real)))
            elif wanted(path) and (entry.is_file() or entry.is_symlink()):
                found.files.append(path)
            else:
                found.others[path.suffix.lower() or "without suffix"] += 1
    found.files.sort()
    return found


def sub_folders(root: Path) -> list[str]:
    """Return the names of the folders and links to folders in a folder, sorted, hidden ones not.

    Raises:
        InputError: There is no such folder, or it cannot be read.
    """
    return sorted(e.name for e in _entries(root) if e.is_dir() and not e.name.startswith("."))


def _entries(folder: Path) -> "list[os.DirEntry[str]]":
    where = reading.shortened(folder)
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        raise InputError("no such folder", where=where) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {reading.reason(error)}", where=where) from error
