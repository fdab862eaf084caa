"""Several processes that train together: start the others, meet them, end them."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_EXIT_TIMEOUT_S = 30


def started_together() -> bool:
    """Tell whether torchrun, or this module in another process, has started this process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def leads() -> bool:
    """Tell whether this process is the only one, or the first of several."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def together(count: int) -> Iterator[int]:
    """Start the other processes unless somebody has, and meet them for the time of the block.

    Args:
        count: How many processes there shall be, this one included.

    Yields:
        The number of this process; 0 leads and writes.

    Raises:
        InputError: torchrun has started another number of processes.
        SqueezeError: The others do not come, or one of them fails.
    """
    from squeeze.core.errors import InputError
    from squeeze.training import distributed

    if started_together():
        started = int(os.environ["WORLD_SIZE"])
        if count not in {1, started}:
            raise InputError(
                f"is {count}, but torchrun started {started} processes", where="--devices"
            )
        with distributed.joined() as number:
            yield number
        return
    others = _start(count)
    try:
        with distributed.joined() as number:
            yield number
    except KeyboardInterrupt:
        for other in others:  # Ctrl-C has reached them too, SIGTERM has not
            other.terminate()
        raise
    finally:
        for name in _variables(0, count, 0):
            os.environ.pop(name, None)
        for other in others:
            _end(other)


def _start(count: int) -> list[subprocess.Popen[bytes]]:
    """Start all but the first, with the same command line, and say so in the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "squeeze", *sys.argv[1:]]
    others = [
        subprocess.Popen(  # noqa: S603  (the command that the user has given)
            command,
            env=os.environ | _variables(number, count, port),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        for number in range(1, count)
    ]
    os.environ.update(_variables(0, count, port))
    return others


def _variables(number: int, count: int, port: int) -> dict[str, str]:
    return {
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    """Give a process time to end by itself, as it does when the trainings are over or broken."""
    try:
        process.wait(_EXIT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
