"""``squeeze doctor``."""

import json as json_module
from collections.abc import Iterator
from typing import Any

import typer

from squeeze.cli import options
from squeeze.core import plugins

_READY = "ready"


def doctor(json: options.AsJson = False) -> None:
    """Tell what this machine can run; exit with 1 when the installation is broken."""
    from squeeze.cli import console
    from squeeze.measure import environment

    found = environment.describe()
    broken = environment.broken_pairs()
    runtimes, backends = _runtimes(), _backends()
    found |= {
        "runtimes": {name: state == _READY for name, state in runtimes.items()},
        "backends": {name: state == _READY for name, state in backends.items()},
        "cuda_device": environment.cuda_device(),
        "problem": broken,
    }
    if json:
        console.out(json_module.dumps(found, indent=1))
    else:
        console.table(("", "", "needed by"), _rows(found, runtimes, backends))
    if broken is not None:
        console.error(broken)
        raise typer.Exit(1)


def _runtimes() -> dict[str, str]:
    """Return every runtime with what it lacks."""
    from squeeze.recipe.targets import EXTRAS, missing_modules

    return {
        name: _state(missing_modules(name), EXTRAS.get(name, "all"))
        for name in plugins.names(plugins.RUNTIMES)
    }


def _backends() -> dict[str, str]:
    """Return every quantization backend that is not a runtime's own, with what it lacks."""
    from squeeze.recipe.quantization import EXTRAS, missing_modules

    own = plugins.names(plugins.RUNTIMES)
    return {
        name: _state(missing_modules(name), EXTRAS.get(name, "all"))
        for name in plugins.names(plugins.BACKENDS)
        if name not in own
    }


def _state(missing: list[str], extra: str) -> str:
    if not missing:
        return _READY
    return f"missing {', '.join(missing)}: pip install 'squeeze[{extra}]'"


def _rows(
    found: dict[str, Any], runtimes: dict[str, str], backends: dict[str, str]
) -> Iterator[tuple[str, str, str]]:
    from squeeze.measure.environment import PACKAGES

    yield "cpu", f"{found['cpu']}, {found['cores']} cores", ""
    yield "int8 on this cpu", _int8(), ""
    yield "cuda", str(found["cuda_device"] or "no device"), ""
    for name, state in runtimes.items():
        yield name, state, f"targets of runtime {name}"
    for name, state in backends.items():
        yield name, state, f"quantize steps of backend {name}"
    for name, needed_by in PACKAGES.items():
        yield name, found["packages"].get(name, "not installed"), needed_by


def _int8() -> str:
    from squeeze.core.cpu import host

    cpu = host()
    if not cpu.is_x86:
        return f"{cpu.machine}: 8-bit weights"
    return "VNNI: 8-bit weights" if cpu.has_vnni else "no VNNI: 7-bit weights avoid saturation"
