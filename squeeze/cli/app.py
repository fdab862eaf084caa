"""The ``squeeze`` command: its verbs, and the one place where errors become exit codes."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

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
    preview,
    prune,
    quantize,
    recipes,
    report,
    run,
    schema,
    train,
)
from squeeze.cli.flag_groups import flat
from squeeze.cli.list import list_names
from squeeze.core.errors import EXIT_FAILED, SqueezeError, cause_of, plain

_SIGNALLED = 128
"""Shells expect this and the number of the signal: 130 after Ctrl-C, 143 after SIGTERM."""
_OUT_OF_MEMORY = ("CUDA out of memory", "can't allocate memory", "Unable to allocate")
"""What torch and NumPy say, whose errors have no class of their own or another base."""
INTERRUPTED = _SIGNALLED + signal.SIGINT


class VerbGroup(TyperGroup):
    """Lists the verbs in the order in which they are registered, groups of verbs among them."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401  (Typer's own)
        """Return the names of all verbs."""
        del ctx
        return sorted(self.commands, key=_ORDER.index)


app = typer.Typer(
    name="squeeze",
    cls=VerbGroup,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its panels leave 24 of 80 columns to the text
    help="Prune, distill and quantize image models, and measure what ships. "
    "Exit codes: 0 passed, 1 the run failed, 2 the input is wrong, 3 a gate failed.",
)
_VERBS: dict[str, Callable[..., None] | typer.Typer] = {
    "init": init.init,
    "recipes": recipes.app,
    "check": check.check,
    "run": run.run,
    "prune": prune.prune,
    "quantize": quantize.quantize,
    "distill": distill.distill,
    "train": train.train,
    "preview": preview.preview,
    "eval": eval.evaluate,
    "bench": bench.bench,
    "export": export.export,
    "inspect": inspect.app,
    "report": report.report,
    "list": list_names,
    "schema": schema.schema,
    "doctor": doctor.doctor,
}
_ORDER = [*_VERBS]
for _name, _verb in _VERBS.items():
    if isinstance(_verb, typer.Typer):
        app.add_typer(_verb, name=_name)
    else:
        app.command(_name)(flat(_verb))


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
        code = app(standalone_mode=False, prog_name="squeeze")
        sys.stdout.flush()  # a closed pipe raises here and not at the interpreter's exit
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

    console.error("stopped; finished steps and epochs are kept, and the same command resumes")
    return _SIGNALLED + signals.number
