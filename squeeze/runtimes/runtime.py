"""One runtime: what its folder says about it, and its parts, imported when they are used.

A runtime is a folder. Its ``__init__.py`` holds a ``SPEC``, the modules beside it do the work:

- ``session``: ``open_session(path, execution)`` and, where it has files, ``file_input(path)``
- ``export``: ``export(model, path, *, batch_size, log)``; it may have
  ``draft(model, path, *, batch_size)``, a quicker way to a file that is only timed
- ``audit``, where it can say which kernels run: ``audit(path)``
- ``activations``, where inner tensors can be read: ``open_activations(path, layout)``
- ``timing``, where it can time layers: ``profile(paths, execution, images)``
- ``metadata``, where a file can hold a text: ``write(path, destination, text)`` and ``read(path)``
"""

from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version as distribution_version
from typing import TYPE_CHECKING

from squeeze.core import plugins, specs
from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from squeeze.models.types import Model
    from squeeze.results import KernelCoverage
    from squeeze.runtimes.base import Activations, Audit, Execution, FileInput, Seconds, Session


@dataclass(frozen=True)
class Runtime:
    """A runtime by its name in recipes.

    Attributes:
        name: In recipes.
        spec: What is known of it without its library.
    """

    name: str
    spec: specs.RuntimeSpec

    def version(self) -> str:
        """Return the version of the library that runs files."""
        return distribution_version(next(iter(self.spec.needs.values())))

    def unavailable(self, device: str) -> str | None:
        """Return why it cannot run files here, or None."""
        for module in specs.missing(self.spec.needs):
            return f"{self.spec.needs[module]} is not installed"
        if device not in self.spec.precisions:
            return (
                f"{self.name} runs on {', '.join(self.spec.precisions)} only here, not on {device}"
            )
        if device == "cuda":
            import torch

            return None if torch.cuda.is_available() else "no CUDA device here"
        return None

    def open_session(self, path: "Path", execution: "Execution") -> "Session":
        """Load a file.

        Raises:
            InputError: It cannot be loaded.
        """
        opened: Session = self._function("session", "open_session")(path, execution)
        return opened

    def file_input(self, path: "Path") -> "FileInput | None":
        """Return what a file says of its input; None for a bundle, whose record says it.

        Raises:
            InputError: It cannot be loaded.
        """
        if self.spec.runs_bundles:
            return None
        found: FileInput = self._function("session", "file_input")(path)
        return found

    def export(
        self, model: "Model", path: "Path", *, batch_size: int = 1, log: "Path | None" = None
    ) -> None:
        """Write a model as a file, or a bundle, of this runtime.

        Args:
            model: What to export.
            path: The file or folder; it appears whole or not at all.
            batch_size: Of the file, where it is fixed.
            log: Where what libraries print goes.

        Raises:
            SqueezeError: The exporter cannot express the model.
        """
        self._function("export", "export")(model, path, batch_size=batch_size, log=log)

    def export_draft(self, model: "Model", path: "Path", *, batch_size: int) -> None:
        """Write a file for timing only, in the quickest way there is.

        Raises:
            SqueezeError: The exporter cannot express the model.
        """
        draft = getattr(plugins.load_part(plugins.RUNTIMES, self.name, "export"), "draft", None)
        if draft is not None:
            with suppress(Exception):  # the quick exporter knows fewer operators than the real one
                draft(model, path, batch_size=batch_size)
                return
        self.export(model, path, batch_size=batch_size)

    @property
    def audits(self) -> bool:
        """Whether files can be audited."""
        return self._has("audit")

    def audit(self, path: "Path") -> "Audit":
        """Return what a file holds and which kernels run it here.

        Raises:
            InputError: It cannot be loaded.
        """
        found: Audit = self._function("audit", "audit")(path)
        return found

    def coverage(self, path: "Path") -> "KernelCoverage | None":
        """Count the int8 kernels of a file; None where files cannot be audited."""
        return self.audit(path).coverage if self.audits else None

    def activations(self, path: "Path", layout: str | None = None) -> "Activations":
        """Open a file so that its inner tensors can be read.

        Args:
            path: The file.
            layout: ``NCHW`` or ``NHWC``, where the shape of its input is ambiguous.

        Raises:
            InputError: Its inner tensors cannot be read, or it cannot be loaded.
        """
        if not self._has("activations"):
            raise InputError(f"{self.name} cannot show the tensors inside a file", where=str(path))
        opened: Activations = self._function("activations", "open_activations")(path, layout)
        return opened

    def profile(
        self, paths: "Sequence[Path]", execution: "Execution", images: "NDArray[np.float32]"
    ) -> "list[Seconds] | None":
        """Return per file the seconds of every run by layer, the files interleaved.

        None where the runtime cannot time layers.
        """
        if not self._has("timing"):
            return None
        found: list[Seconds] = self._function("timing", "profile")(paths, execution, images)
        return found

    @property
    def holds_metadata(self) -> bool:
        """Whether a text can be put into a file."""
        return self._has("metadata")

    def write_metadata(self, path: "Path", destination: "Path", text: str) -> None:
        """Write a copy of a file with a text in it, in place of one that is there."""
        self._function("metadata", "write")(path, destination, text)

    def read_metadata(self, path: "Path") -> str | None:
        """Return the text inside a file; None where there is none."""
        found: str | None = self._function("metadata", "read")(path)
        return found

    def _has(self, part: str) -> bool:
        return plugins.has_part(plugins.RUNTIMES, self.name, part)

    def _function(self, part: str, name: str) -> plugins.ExtensionFunction:
        return plugins.load_function(plugins.RUNTIMES, self.name, part, name)


def load(name: str) -> Runtime:
    """Return a runtime.

    Raises:
        InputError: There is none of this name, or it is not one.
    """
    return Runtime(name, specs.runtime(name))


def installed(name: str, *, where: str, device: str = "cpu") -> Runtime:
    """Return a runtime that can run files here.

    Args:
        name: In recipes.
        where: What an error is about: a file, or the name itself.
        device: ``cpu`` or ``cuda``.

    Raises:
        InputError: There is none of this name, or it cannot run here.
    """
    found = load(name)
    reason = found.unavailable(device)
    if reason is not None:
        raise InputError(reason, where=where)
    return found


def of_file(path: "Path") -> Runtime | None:
    """Return the runtime whose files end like this one, or None."""
    name = specs.runtime_of_file(path)
    return None if name is None else load(name)
