"""Which files are measured together, and how: every file in every setting asked for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.api.file_input import IN_PYTHON, Wording
from squeeze.api.served import ServedFile, served
from squeeze.core.errors import InputError, unknown_name

if TYPE_CHECKING:
    from squeeze.runtimes.base import Session
    from squeeze.runtimes.runtime import Runtime

_DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Case:
    """A file as it is run.

    Attributes:
        name: The file as the user wrote it.
        file: What runs: an export of it, where a bundle is run in another runtime than PyTorch.
        threads: Threads per operator.
        batch_size: Images per call.
    """

    name: str
    file: ServedFile
    threads: int
    batch_size: int

    def open_session(self) -> "Session":
        """Load the file.

        Raises:
            InputError: It does not run on its input.
        """
        return self.file.open_session(self.threads)

    def settings(self) -> dict[str, object]:
        """Return what is measured, as plain data."""
        return {
            "file": self.name,
            "runtime": self.file.runtime,
            "device": self.file.device,
            "threads": self.threads,
            "batch_size": self.batch_size,
        }

    def same_run(self, other: "Case") -> bool:
        """Whether the other one is the same file in the same setting, however it was fed."""
        return self.settings() == other.settings()

    def columns(self) -> dict[str, str]:
        """Return the settings by the titles of columns."""
        return {
            "Runtime": self.file.place,
            "Threads": str(self.threads),
            "Batch": str(self.batch_size),
        }

    def differs(self, others: "Sequence[Case]") -> dict[str, str]:
        """Return the settings that are not the same in all cases, by the titles of columns."""
        every = [other.columns() for other in others]
        return {
            title: value
            for title, value in self.columns().items()
            if len({columns[title] for columns in every}) > 1
        }

    @property
    def is_raw(self) -> bool:
        """Whether decoding, which an application of a detector has to do, is not in the file."""
        return not self.file.ends_at_boxes and self.file.detector is not None


@dataclass(frozen=True)
class Settings:
    """What was asked for.

    Attributes:
        targets: ``RUNTIME`` or ``RUNTIME:DEVICE``; without any, the runtime of each file.
        threads: Each of them in turn.
        batch_sizes: The same.
        input: Keys of the input, and the ``layout``, that are given for all files.
        wording: How errors are worded.
    """

    targets: Sequence[str] = ()
    threads: Sequence[int] = (1,)
    batch_sizes: Sequence[int] = (1,)
    input: Mapping[str, object] = field(default_factory=dict)
    wording: Wording = IN_PYTHON

    def open(self, path: Path) -> ServedFile:
        """Recognise a file."""
        return served(path, self.input, wording=self.wording)


def groups(files: Iterable[Path], settings: Settings, folder: Path) -> Iterator[list[Case]]:
    """Yield the cases that are measured together: all files with one batch size and thread count.

    Args:
        files: The baseline first; repetitions are left out.
        settings: What was asked for.
        folder: Where bundles are exported to that run in another runtime than PyTorch.

    Raises:
        InputError: A file that runs in none of the targets, or an unknown target.
    """
    opened = {str(path): settings.open(path) for path in files}
    for threads in dict.fromkeys(settings.threads):
        for size in dict.fromkeys(settings.batch_sizes):
            yield [
                Case(name, placed, threads, size)
                for name, file in opened.items()
                for placed in _placed(file, settings, size, folder)
            ]


def reference(case: Case, group: Sequence[Case]) -> Case:
    """Return the case that one is compared with.

    It is the baseline, in the same runtime where it runs there. A single file is compared with
    itself in the first target.
    """
    own = [other for other in group if other.name == group[0].name]
    if len(own) == len(group):
        return group[0]
    return next((other for other in own if other.file.place == case.file.place), own[0])


def _placed(
    file: ServedFile, settings: Settings, batch_size: int, folder: Path
) -> list[ServedFile]:
    """Return a file as it runs in every target that takes it."""
    if not settings.targets:
        return [file]
    placed = []
    for target in dict.fromkeys(settings.targets):
        name, _, device = target.partition(":")
        runtime, device = _runtime(name, device or _DEVICES[0], settings.wording)
        own = file
        if file.is_bundle:
            if not runtime.spec.runs_bundles:
                own = settings.open(_export(file, runtime, batch_size, folder))
        elif runtime.spec.kind != file.kind:
            continue
        own = replace(own, runtime=name, device=device)
        own.load()  # whether it runs here
        placed.append(own)
    if not placed:
        targets = ", ".join(settings.targets)
        what = f"is of kind {file.kind} and runs in none of the targets {targets}"
        raise InputError(what, where=str(file.path))
    return placed


def _export(bundle: ServedFile, runtime: "Runtime", batch_size: int, folder: Path) -> Path:
    """Export a bundle, once for every batch size that its file is bound to."""
    from squeeze.exporting import file
    from squeeze.models.bundle import load
    from squeeze.store import checksums

    whole = bundle.path.resolve()
    place = folder / checksums.of_plain(str(whole))
    place.mkdir(exist_ok=True)
    return file.write(whole.name, load(bundle.path), runtime, batch_size, place, None)


def _runtime(name: str, device: str, wording: Wording) -> "tuple[Runtime, str]":
    """Return the runtime of a target, and where it computes."""
    from squeeze.runtimes.runtime import load

    where = wording.place("target")
    if device not in _DEVICES:
        raise InputError(unknown_name("device", device, _DEVICES), where=where)
    try:
        return load(name), device
    except InputError as error:
        raise InputError(error.what, where=where) from error
