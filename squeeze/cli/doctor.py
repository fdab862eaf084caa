"""``squeeze doctor``."""

import json as json_module

import typer

from squeeze.cli import options
from squeeze.core import plugins


def doctor(json: options.AsJson = False) -> None:
    """Tell what this machine can run; exit with 1 when the installation is broken."""
    from squeeze.cli import console
    from squeeze.measure import environment
    from squeeze.recipe.plan import EXTRAS, missing_modules

    found = environment.describe()
    broken = environment.broken_pairs()
    runtimes = {name: missing_modules(name) for name in plugins.names(plugins.RUNTIMES)}
    found |= {
        "runtimes": {name: not missing for name, missing in runtimes.items()},
        "cuda_device": environment.cuda_device(),
        "problem": broken,
    }
    if json:
        console.out(json_module.dumps(found, indent=1))
    else:
        rows = [
            ("cpu", f"{found['cpu']}, {found['cores']} cores"),
            ("int8 on this cpu", _int8()),
            ("cuda", str(found["cuda_device"] or "no device")),
        ]
        for name, missing in runtimes.items():
            rows.append(
                (
                    name,
                    "ready"
                    if not missing
                    else f"missing {', '.join(missing)}: pip install "
                    f"'squeeze[{EXTRAS.get(name, 'all')}]'",
                )
            )
        rows += [(name, version) for name, version in found["packages"].items()]
        console.table(("", ""), rows)
    if broken is not None:
        console.error(broken)
        raise typer.Exit(1)


def _int8() -> str:
    from squeeze.core.cpu import host

    cpu = host()
    if not cpu.is_x86:
        return f"{cpu.machine}: 8-bit weights"
    return "VNNI: 8-bit weights" if cpu.has_vnni else "no VNNI: 7-bit weights avoid saturation"
