"""``squeeze doctor``."""

import json as json_module
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import typer

from squeeze.cli import options
from squeeze.core import plugins

if TYPE_CHECKING:
    from squeeze.core.specs import BackendSpec, RuntimeSpec

_READY = "ready"


def doctor(json: options.AsJson = False) -> None:
    """Show what this machine can run.

    Exits with 1 if the installation is broken.
    """
    from squeeze.cli import console
    from squeeze.core import specs
    from squeeze.measure import environment

    machine = environment.describe()
    broken = environment.broken_pairs()
    runtimes = _states(plugins.RUNTIMES, specs.runtimes())
    backends = _states(plugins.BACKENDS, specs.backends())
    machine |= {
        "runtimes": {name: state == _READY for name, state in runtimes.items()},
        "backends": {name: state == _READY for name, state in backends.items()},
        "cuda_device": environment.cuda_device(),
        "problem": broken,
    }
    if json:
        console.out(json_module.dumps(machine, indent=1))
    else:
        console.table(("", "", "needed by"), _rows(machine, runtimes, backends))
    if broken is not None:
        console.error(broken)
        raise typer.Exit(1)


def _states(group: str, specs_by_name: "Mapping[str, RuntimeSpec | BackendSpec]") -> dict[str, str]:
    """Return every runtime or backend with what it lacks."""
    from squeeze.core import specs

    broken = {name: f"broken: {what}" for name, what in specs.unreadable(group).items()}
    return {
        name: _state(spec.missing(), spec.install) for name, spec in specs_by_name.items()
    } | broken


def _state(missing: list[str], install: str) -> str:
    if not missing:
        return _READY
    return f"missing {', '.join(missing)}: pip install '{install}'"


def _rows(
    machine: Mapping[str, object], runtimes: dict[str, str], backends: dict[str, str]
) -> Iterator[tuple[str, str, str]]:
    from squeeze.measure.environment import needed_by, packages

    installed = packages()

    yield "cpu", f"{machine['cpu']}, {machine['cores']} cores", ""
    yield "int8 on this cpu", _int8(), ""
    yield "cuda", str(machine["cuda_device"] or "no device"), ""
    for name, state in runtimes.items():
        yield name, state, f"targets of runtime {name}"
    for name, state in backends.items():
        yield f"backend {name}", state, f"quantize steps of backend {name}"
    for name, needs_it in needed_by().items():
        yield name, installed.get(name, "not installed"), needs_it


def _int8() -> str:
    from squeeze.core.cpu import host

    cpu = host()
    if not cpu.is_x86:
        return f"{cpu.machine}: 8-bit weights"
    return "VNNI: 8-bit weights" if cpu.has_vnni else "no VNNI: 7-bit weights avoid saturation"
