"""What extensions say about themselves, so that recipes are checked without importing libraries.

A runtime, a quantization backend and a dataset format each hold a ``SPEC`` in the module that their
name leads to; importing that module imports none of their libraries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeVar

from squeeze.core import plugins
from squeeze.core.errors import InputError


@dataclass(frozen=True)
class RuntimeSpec:
    """A runtime.

    Attributes:
        suffix: How the names of its files end, such as ``.onnx``; no other runtime's files end so.
            Empty where it runs bundles.
        precisions: What it can hold, by device.
        needs: The modules that running a file imports, with the distributions that bring them.
        export_needs: The same of writing files.
        install: What to give to ``pip install`` for all of them.
        backend: The quantization backend that ``auto`` stands for; None for the one of the
            runtime's own name.
        refuses: Why it cannot hold a scheme, by scheme, or by precision for all schemes of one
            kind (``int8``). What ``precisions`` leaves out needs no entry here.
        fp16_emulated: Why fp16 is refused on a CPU that has no fp16 arithmetic; empty where it is
            not.
        fp16_widened: Why any CPU computes the files' fp16 weights in fp32; empty where it does
            not.
        fp16_widened_on_x86: Why an x86 CPU does.
        layout: ``NCHW`` or ``NHWC``: of a file's input whose shape is ambiguous.
        fixed_batch: Whether a file holds one batch size.
        ends_at_boxes: Whether decoding and suppression may be written into a detector's file.
        suppresses: Whether a graph may suppress boxes inside, as two-stage detectors do.
        slow_export: Whether writing a file takes so long that a search tries few of them.
        host_caveat: A sentence for reports on latencies measured on this host; empty where there is
            nothing to say.
        session_imports: The modules that opening a session imports: they count as code, not as a
            model's memory.
        runs_modules: Whether it runs torch modules as they are: bundles run in it unless a target
            says otherwise. One runtime does.
    """

    suffix: str
    precisions: Mapping[str, tuple[str, ...]]
    needs: Mapping[str, str]
    install: str
    backend: str | None = None
    export_needs: Mapping[str, str] = field(default_factory=dict)
    refuses: Mapping[str, str] = field(default_factory=dict)
    fp16_emulated: str = ""
    fp16_widened: str = ""
    fp16_widened_on_x86: str = ""
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    fixed_batch: bool = False
    ends_at_boxes: bool = False
    suppresses: bool = False
    slow_export: bool = False
    host_caveat: str = ""
    session_imports: tuple[str, ...] = ()
    runs_modules: bool = False

    @property
    def runs_bundles(self) -> bool:
        """Whether it has no file type of its own."""
        return not self.suffix

    @property
    def kind(self) -> str:
        """The file type as the command line calls it: the suffix without its leading dot."""
        return self.suffix.removeprefix(".")

    @property
    def distributions(self) -> tuple[str, ...]:
        """All distributions that it needs."""
        return tuple(dict.fromkeys([*self.needs.values(), *self.export_needs.values()]))

    def missing(self) -> list[str]:
        """Return the modules that running or writing files needs and that are not installed."""
        return missing({**self.needs, **self.export_needs})


@dataclass(frozen=True)
class BackendSpec:
    """A quantization backend.

    Attributes:
        runtimes: Those that its files are for.
        schemes: Those that it makes.
        keeps_recovered: Whether it keeps what accuracy recovery does to the weights; false where it
            rounds to a grid of its own.
        ignores: Keys of a quantize step that have no effect on it.
        autotunes: Whether it takes ``autotune``.
        needs: The modules that it imports besides its runtime's, with their distributions.
        install: What to give to ``pip install`` for them.
    """

    runtimes: tuple[str, ...]
    schemes: tuple[str, ...]
    keeps_recovered: bool = True
    ignores: tuple[str, ...] = ()
    autotunes: bool = False
    needs: Mapping[str, str] = field(default_factory=dict)
    install: str = ""

    @property
    def distributions(self) -> tuple[str, ...]:
        """All distributions that it needs besides its runtime's."""
        return tuple(self.needs.values())

    def missing(self) -> list[str]:
        """Return the modules that it needs and that are not installed."""
        return missing(self.needs)


@dataclass(frozen=True)
class FormatSpec:
    """A dataset format: a folder whose module ``samples`` opens it, or one file that does.

    Attributes:
        labels: What a sample's label is: a class, boxes, or either, as the data has it.
        needs: Keys of a data block that it requires.
        uses: Further keys that it reads, besides those of every format.
    """

    labels: Literal["classes", "boxes", "either"]
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()


_Spec = TypeVar("_Spec", RuntimeSpec, BackendSpec, FormatSpec)


def runtime(name: str) -> RuntimeSpec:
    """Return what a runtime says about itself.

    Raises:
        InputError: There is none of this name, or it has no valid SPEC.
    """
    return _read(plugins.RUNTIMES, name, RuntimeSpec)


def backend(name: str) -> BackendSpec:
    """Return what a quantization backend says about itself.

    Raises:
        InputError: There is none of this name, or it has no valid SPEC.
    """
    return _read(plugins.BACKENDS, name, BackendSpec)


def data_format(name: str) -> FormatSpec:
    """Return what a dataset format says about itself.

    Raises:
        InputError: There is none of this name, or it has no valid SPEC.
    """
    return _read(plugins.DATASETS, name, FormatSpec)


def runtimes() -> dict[str, RuntimeSpec]:
    """Return all runtimes that can be read; ``unreadable`` lists the others."""
    return _every(plugins.RUNTIMES, RuntimeSpec)


def backends() -> dict[str, BackendSpec]:
    """Return all quantization backends that can be read; ``unreadable`` lists the others."""
    return _every(plugins.BACKENDS, BackendSpec)


def unreadable(group: str) -> dict[str, str]:
    """Return why extensions of a group, by name, cannot be used."""
    kind = {plugins.RUNTIMES: RuntimeSpec, plugins.BACKENDS: BackendSpec}.get(group, FormatSpec)
    found = {}
    for name in plugins.names(group):
        try:
            _read(group, name, kind)
        except InputError as error:
            found[name] = str(error)
    return found


def runtime_of_file(path: Path) -> str | None:
    """Return the runtime whose files end like this one, or None; the longest suffix counts."""
    fitting = [
        (len(spec.suffix), name)
        for name, spec in runtimes().items()
        if spec.suffix and path.name.endswith(spec.suffix)
    ]
    return max(fitting)[1] if fitting else None


def module_runtime() -> str:
    """Return the runtime that runs torch modules as they are."""
    return next(name for name, spec in runtimes().items() if spec.runs_modules)


def file_suffixes() -> tuple[str, ...]:
    """Return the suffixes of all runtimes' files, shortest first."""
    found = {spec.suffix for spec in runtimes().values() if spec.suffix}
    return tuple(sorted(found, key=lambda suffix: (len(suffix), suffix)))


def not_installed(name: str, modules: Sequence[str], install: str) -> str:
    """Return the sentence for a runtime or backend of which modules are missing."""
    return f"{name} is not installed (no {', '.join(modules)}); pip install '{install}'"


def missing(modules: Mapping[str, str]) -> list[str]:
    """Return the modules among these that are not installed."""
    return [name for name in modules if find_spec(name) is None]


def _every(group: str, kind: type[_Spec]) -> dict[str, _Spec]:
    found = {}
    for name in plugins.names(group):
        try:
            found[name] = _read(group, name, kind)
        except InputError:
            continue
    return found


def _read(group: str, name: str, kind: type[_Spec]) -> _Spec:
    module = plugins.load(group, name)
    found = getattr(module, "SPEC", None)
    if not isinstance(found, kind):
        wanted = f"squeeze.core.specs.{kind.__name__}"
        what = f"is not a {plugins.ONE_OF[group]}: its SPEC is not a {wanted}"
        raise InputError(what, where=module.__name__)
    return found
