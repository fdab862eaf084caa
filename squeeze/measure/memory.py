"""Peak memory of loading and running one file, in a process that does nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil

from squeeze.core import plugins
from squeeze.runtimes.base import Execution

_CALLS = 3
_LIMIT_S = 300


def peak_bytes(runtime: str, path: Path, execution: Execution, shape: tuple[int, ...]) -> int:
    """Return how far resident memory rose above that of the idle runtime.

    Args:
        runtime: The runtime's name.
        path: The exported file.
        execution: Threads and precision.
        shape: The input, ``(N, C, H, W)``.

    Raises:
        RuntimeError: The measuring process failed.
    """
    request = json.dumps(
        [runtime, str(path.resolve()), execution.threads, execution.precision, list(shape)]
    )
    done = subprocess.run(  # noqa: S603  (our own interpreter and module)
        [sys.executable, "-m", "squeeze.measure.memory", request],
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr else "no message")
    return int(done.stdout.strip().splitlines()[-1])


def _probe(request: str) -> int:
    """Run the model a few times; return the rise of the process's peak above its idle size."""
    import numpy as np

    name, path, threads, precision, shape = json.loads(request)
    runtime = plugins.load(plugins.RUNTIMES, name)
    runtime.version()
    _import(name)
    idle = psutil.Process().memory_info().rss
    session = runtime.open_session(Path(path), Execution(threads, "cpu", precision))
    images = np.zeros(shape, np.float32)
    for _ in range(_CALLS):
        session.invoke(session.prepare(images))
    return max(0, _peak() - idle)


def _peak() -> int:
    """Return the largest resident size so far.

    Linux's ``ru_maxrss`` survives ``exec`` and would be the parent's; ``VmHWM`` does not.
    """
    import resource

    try:
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _import(name: str) -> None:
    from importlib import import_module

    from squeeze.recipe.plan import MODULES

    for module in MODULES.get(name, ())[:1]:
        import_module(module)


if __name__ == "__main__":
    print(_probe(sys.argv[1]))  # noqa: T201  (read by the parent process)
