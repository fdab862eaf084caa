"""Peak memory of loading and running one file, in a process that does nothing else."""

import contextlib
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import psutil

from squeeze.core import permission
from squeeze.runtimes.base import Execution
from squeeze.runtimes.runtime import load as load_runtime

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
        RuntimeError: The measuring process failed or took more than five minutes.
    """
    request = json.dumps(
        [
            runtime,
            str(path.resolve()),
            execution.threads,
            execution.precision,
            list(shape),
            permission.allowed(),
        ]
    )
    try:
        done = subprocess.run(  # noqa: S603  (our own interpreter and module)
            [sys.executable, "-m", "squeeze.measure.memory", request],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"it took more than {_LIMIT_S} s") from None
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr else "no message")
    return int(done.stdout.strip().splitlines()[-1])


def _probe(request: str) -> int:
    """Run the model a few times; return the rise of the process's peak above its idle size."""
    import numpy as np

    name, path, threads, precision, shape, allowed = json.loads(request)
    runtime = load_runtime(name)
    for module in runtime.spec.session_imports:
        import_module(module)
    _forget_peak()
    idle = psutil.Process().memory_info().rss
    with permission.allowing(allowed, Path.cwd()):
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


def _forget_peak() -> None:
    """Reset the peak: importing a library peaks higher than running a small model."""
    with contextlib.suppress(OSError):  # Linux only
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


if __name__ == "__main__":
    print(_probe(sys.argv[1]))  # noqa: T201  (read by the parent process)
