"""The ``squeeze`` command: its verbs, and the one place where errors become exit codes."""

import os
import signal
import sys
import traceback
from types import FrameType
from typing import Annotated, NoReturn

import typer

from squeeze._version import __version__
from squeeze.cli import (
    bench,
    check,
    distill,
    doctor,
    eval,
    export,
    init,
    inspect,
    list,
    one_step,
    options,
    preview,
    prune,
    quantize,
    report,
    run,
    schema,
    train,
)
from squeeze.core.errors import EXIT_FAILED, SqueezeError, cause_of, plain

_SIGNALLED = 128
"""Shells expect this and the number of the signal: 130 after Ctrl-C, 143 after SIGTERM."""
_OUT_OF_MEMORY = ("CUDA out of memory", "can't allocate memory", "Unable to allocate")
"""What torch and NumPy say, whose errors have no class of their own or another base."""
INTERRUPTED = _SIGNALLED + signal.SIGINT

app = typer.Typer(
    name="squeeze",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Prune, distill and quantize image models, and measure what ships. "
    "Exit codes: 0 passed, 1 the run failed, 2 the input is wrong, 3 a gate failed.",
)

app.command("run")(run.run)
app.command("prune")(options.sharing(one_step.common, prune.prune))
app.command("quantize")(options.sharing(one_step.common, quantize.quantize))
app.command("distill")(options.sharing(one_step.common, distill.distill))
app.command("train")(train.train)
app.command("preview")(preview.preview)
app.command("eval")(eval.evaluate)
app.command("bench")(bench.bench)
app.command("export")(export.export)
app.command("inspect")(inspect.inspect)
app.command("check")(check.check)
app.command("schema")(schema.schema)
app.command("list")(list.list_names)
app.command("init")(init.init)
app.command("doctor")(doctor.doctor)
app.command("report")(report.report)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"squeeze {__version__}\n")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


class _Signals:
    """Makes the signals that ask a process to end do what Ctrl-C does.

    Attributes:
        number: Of the signal that came; SIGINT until then.
        came: Whether one came: errors that follow are its consequence.
    """

    def __init__(self) -> None:
        self.number, self.came = int(signal.SIGINT), False
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            if signal.getsignal(number) == signal.SIG_DFL:  # nohup has SIGHUP ignored
                signal.signal(number, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> NoReturn:
        del frame
        self.number, self.came = number, True
        signal.signal(number, signal.SIG_DFL)  # the second one does not wait
        raise KeyboardInterrupt


def main() -> NoReturn:
    """Run the command line; every way out ends here."""
    signals = _Signals()
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()  # a closed pipe is told of here and not by the interpreter's exit
    except Exception as error:  # noqa: BLE001  (the last handler)
        sys.exit(_explain(error, signals))
    except KeyboardInterrupt:
        sys.exit(_stopped(signals))
    sys.exit(_stopped(signals) if code == INTERRUPTED else code if isinstance(code, int) else 0)


def _explain(error: Exception, signals: _Signals) -> int:
    from squeeze.cli import console
    from squeeze.store import unusable

    if isinstance(error, typer.Abort) or signals.came:
        return _stopped(signals)
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # a mistake in the flags
        error.show()
        return int(error.exit_code)
    if isinstance(error, BrokenPipeError):  # whoever reads our output has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    shown: Exception = error
    if isinstance(error, OSError):
        shown = unusable(error) or error
    if isinstance(error, MemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY):
        hint = "lower batch_size, workers or samples"
        shown = SqueezeError(f"memory ran out ({cause_of(error)})", hint=hint)
    if "--debug" in sys.argv:
        traceback.print_exception(error)
    if isinstance(shown, SqueezeError):
        console.error(str(shown))
        return shown.exit_code
    if "torchvision::nms" in str(error):  # torch and torchvision of different builds
        from squeeze.measure.environment import broken_pairs

        console.error(broken_pairs() or str(error))
        return EXIT_FAILED
    console.error(
        f"{type(error).__name__}: {plain(str(error))}\n  this is a bug in squeeze or in a library "
        "it uses; run again with --debug to see where"
    )
    return EXIT_FAILED


def _stopped(signals: _Signals) -> int:
    from squeeze.cli import console

    console.error("stopped; finished steps are kept, epochs too, and the same command goes on")
    return _SIGNALLED + signals.number
