"""The last handler: errors of the machine are none of squeeze's."""

import errno
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from squeeze.cli import app


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Put the handlers of signals back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (MemoryError(), 1, "memory ran out"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 1, "memory ran out"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            1,
            "lower batch_size",
        ),
        (OSError(errno.ENAMETOOLONG, "x", "/a"), 2, "choose a shorter path"),
        (OSError(errno.EMFILE, "x", "/a"), 1, "/a: cannot be read or written: Too many open"),
        (FileNotFoundError(errno.ENOENT, "x", "/a"), 1, "/a: cannot be read or written: No such"),
    ],
)
def test_errors_of_the_machine_are_told_with_a_hint(
    error: Exception, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app._explain(error, app._Signals()) == code
    told = capsys.readouterr().err
    assert says in told
    assert "bug" not in told
    assert ("space" in told) is False


def test_what_nobody_knows_is_a_bug_without_escape_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert app._explain(ValueError("\x1b[96mcoloured\x1b[0m"), app._Signals()) == 1
    told = capsys.readouterr().err
    assert "ValueError: coloured\n" in told
    assert "this is a bug" in told


@pytest.mark.parametrize("verb", ["schema", "list"])  # more than a buffer holds, and less
def test_a_reader_that_has_enough_is_not_complained_to(verb: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "squeeze", verb], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 1
