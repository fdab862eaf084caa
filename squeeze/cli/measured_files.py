"""The flags of ``eval`` and ``bench``: which files are measured, and in which settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli import options
from squeeze.cli.flag_groups import FileInputFlags

if TYPE_CHECKING:
    from squeeze.api.cases import Settings
    from squeeze.api.file_input import Wording
    from squeeze.api.served import ServedFile

_PLACES = {"shape": "--input"}


@dataclass(frozen=True, kw_only=True)
class MeasuredFiles:
    """Files and settings."""

    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Bundle folders, .onnx or .tflite files."),
    ]
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File to compare the others with. Default: the first one."
        ),
    ] = None
    target: options.Targets = None
    threads: options.EveryThreads = None
    batch_size: options.EveryBatchSize = None
    fed: FileInputFlags

    @property
    def in_order(self) -> list[Path]:
        """The files, the baseline first."""
        return [*([] if self.baseline is None else [self.baseline]), *self.files]

    def settings(self) -> "Settings":
        """Return the settings that the flags stand for."""
        from squeeze.api.cases import Settings

        return Settings(
            self.target or (),
            self.threads or (1,),
            self.batch_size or (1,),
            self.fed.given(),
            wording(),
        )


def opened(path: Path, given: Mapping[str, object] | None = None) -> "ServedFile":
    """Recognise a file; errors name flags.

    Args:
        path: A bundle's folder or an exported file.
        given: Keys of the input, and the ``layout``, that flags give.

    Raises:
        InputError: Not such a file, a flag that does not fit, or nothing tells its input.
    """
    from squeeze.api.served import served

    return served(path, given or {}, wording=wording())


def wording() -> "Wording":
    """Return how errors of files are worded for those who give flags."""
    from squeeze.api.file_input import Wording

    return Wording(
        damaged="remove it and give --input C,H,W (and --mean, --std)",
        shape="give --input C,H,W (and --mean, --std)",
        fit="give its input as --input C,H,W (and --layout nchw or nhwc)",
        pixels="leave --mean and --std out to feed pixels as they are",
        classes="if the data lacks some of the model's classes, name all with --classes",
        given="flags",
        place=lambda key: _PLACES.get(key, f"--{key.replace('_', '-')}"),
    )
