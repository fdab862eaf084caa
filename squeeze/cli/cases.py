"""Which files ``eval`` and ``bench`` measure, and how: every file in every setting asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from squeeze.core.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from squeeze.cli.file import File
    from squeeze.runtimes.base import Session
    from squeeze.runtimes.runtime import Runtime

    Open = Callable[[Path], File]

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
    file: "File"
    threads: int
    batch_size: int

    def open_session(self, *, classes: int | None = None) -> "Session":
        """Load the file.

        Raises:
            InputError: It does not run on its input, or has other than ``classes`` outputs.
        """
        return self.file.open_session(self.threads, classes=classes)

    def plain(self) -> dict[str, Any]:
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
        return self.plain() == other.plain()

    def differs(self, others: "Sequence[Case]") -> dict[str, str]:
        """Return the settings that are not the same in all cases, by the titles of columns."""
        shown = {
            "Runtime": [case.file.place for case in others],
            "Threads": [str(case.threads) for case in others],
            "Batch": [str(case.batch_size) for case in others],
        }
        own = {
            "Runtime": self.file.place,
            "Threads": str(self.threads),
            "Batch": str(self.batch_size),
        }
        return {title: own[title] for title, values in shown.items() if len(set(values)) > 1}


@dataclass(frozen=True)
class Settings:
    """What was asked for.

    Attributes:
        targets: ``RUNTIME`` or ``RUNTIME:DEVICE``; without any, the runtime of each file.
        threads: Each of them in turn.
        batch_sizes: The same.
    """

    targets: Sequence[str]
    threads: Sequence[int]
    batch_sizes: Sequence[int]


def with_baseline(files: Sequence[Path], baseline: Path | None) -> list[Path]:
    """Return the files without repetitions, the baseline first."""
    first = [] if baseline is None else [baseline]
    return list(dict.fromkeys([*first, *files]))


def groups(
    files: Sequence[Path], settings: Settings, exports: "BundleExports"
) -> Iterator[list[Case]]:
    """Yield the cases that are measured together: all files with one batch size and thread count.

    Args:
        files: The baseline first.
        settings: What was asked for.
        exports: Recognises files, and makes those of bundles.

    Raises:
        InputError: A file that runs in none of the targets, or an unknown target.
    """
    opened = {str(path): exports.open_file(path) for path in files}
    for threads in dict.fromkeys(settings.threads):
        for size in dict.fromkeys(settings.batch_sizes):
            yield [
                Case(name, placed, threads, size)
                for name, file in opened.items()
                for placed in _placed(file, settings.targets, size, exports)
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


@dataclass(frozen=True)
class BundleExports:
    """Makes the files of bundles that are run in another runtime than PyTorch.

    Attributes:
        open_file: Recognises a file, with the input that flags give.
        folder: Where they are written.
    """

    open_file: "Open"
    folder: Path

    def of(self, bundle: "File", runtime: "Runtime", batch_size: int) -> "File":
        """Export a bundle, once for every batch size that its file is bound to."""
        from squeeze.exporting import file
        from squeeze.models.bundle import load
        from squeeze.store import checksums

        place = self.folder / checksums.of_plain(str(bundle.path.resolve()))
        place.mkdir(exist_ok=True)
        name = bundle.path.resolve().name
        path = file.write(name, load(bundle.path), runtime, batch_size, place, None)
        return self.open_file(path)


def _placed(
    file: "File", targets: Sequence[str], batch_size: int, exports: BundleExports
) -> list["File"]:
    """Return a file as it runs in every target that takes it."""
    if not targets:
        return [file]
    found = []
    for target in dict.fromkeys(targets):
        runtime, _, device = target.partition(":")
        served = _runtime(runtime, device or _DEVICES[0])
        own = file
        if file.is_bundle:
            if not served.spec.runs_bundles:
                own = exports.of(file, served, batch_size)
        elif served.spec.kind != file.kind:
            continue
        own = replace(own, runtime=runtime, device=device or _DEVICES[0])
        own.load()  # whether it runs here
        found.append(own)
    if not found:
        raise InputError(
            f"is of kind {file.kind} and runs in none of the targets {', '.join(targets)}",
            where=str(file.path),
        )
    return found


def _runtime(name: str, device: str) -> "Runtime":
    """Return the runtime of a target."""
    from squeeze.runtimes.runtime import load

    if device not in _DEVICES:
        raise InputError(unknown_name("device", device, _DEVICES), where="--target")
    try:
        return load(name)
    except InputError as error:
        raise InputError(error.what, where="--target") from error
