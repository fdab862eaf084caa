"""Where a run happened: without it no latency means anything."""

import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import psutil

from squeeze._version import __version__
from squeeze.core import cpu, specs

_ALWAYS = {
    "torch": "everything",
    "torchvision": "everything",
    "numpy": "everything",
    "torch-pruning": "prune",
    "torchdistill": "distill",
}
_MODELS = {
    "timm": "models timm:NAME",
    "transformers": "models transformers:NAME",
}


def needed_by() -> dict[str, str]:
    """Return what decides results, by distribution, and what needs it."""
    found = dict(_ALWAYS)
    for name, runtime in specs.runtimes().items():
        found |= {each: name for each in runtime.distributions if each not in found}
    for name, backend in specs.backends().items():
        found |= {each: f"backend {name}" for each in backend.distributions if each not in found}
    return found | _MODELS


def describe() -> dict[str, object]:
    """Return plain data: system, processor, memory, load, versions; no host or user names."""
    host = cpu.host()
    return {
        "squeeze": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": host.model,
        "cpu_features": list(host.features),
        "cores": psutil.cpu_count(logical=True),
        "memory_bytes": psutil.virtual_memory().total,
        "load_average": [round(value, 2) for value in psutil.getloadavg()],
        "packages": packages(),
    }


def packages() -> dict[str, str]:
    """Return the installed versions of what decides results."""
    found = {}
    for name in needed_by():
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def arithmetic() -> dict[str, str | int]:
    """Return what decides the order in which torch sums, and so its last bits. Imports torch.

    Threads are those inside one operator (``OMP_NUM_THREADS``).
    """
    import torch

    processor = f"{cpu.host().model} ({torch.backends.cpu.get_cpu_capability()})"
    return {
        "torch": torch.__version__,
        "device": cuda_device() or processor,
        "threads": torch.get_num_threads(),
    }


def cuda_device() -> str | None:
    """Return the GPU's name, or None. Imports torch."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def _operators_load() -> bool:
    """Whether torchvision's compiled operators load; importing the rest of it takes seconds."""
    spec = find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return False
    import torch

    try:
        for library in Path(spec.submodule_search_locations[0]).glob("_C*"):
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        return hasattr(torch.ops.torchvision, "nms")
    except OSError:
        return False


def broken_pairs() -> str | None:
    """Return why torch and torchvision do not work together, or None.

    torchvision's wheels carry compiled code for one torch build; another build of torch fails in
    its operators with a message that names neither.
    """
    if _operators_load():
        return None
    try:
        import torchvision  # noqa: F401  (importing it is the test)
    except (ImportError, RuntimeError) as error:
        return (
            f"torchvision {packages().get('torchvision', '?')} does not work with torch "
            f"{packages().get('torch', '?')} ({error}); reinstall both together: "
            "pip install --force-reinstall 'torch>=2.14,<2.15' torchvision"
        )
    return None
