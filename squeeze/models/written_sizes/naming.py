"""Names for the calls that a forward function makes: by line, and how often it was passed."""

import functools
import sys
from collections import Counter
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from torch import nn  # noqa: TID253  (imported only where a model is)
from torch.fx import traceback  # noqa: TID253
from torch.overrides import TorchFunctionMode  # noqa: TID253

from squeeze.models.written_sizes.forms import FORMS, SCALE, Factor, Scaled

if TYPE_CHECKING:
    from collections.abc import Iterator

META = "squeeze_call"
"""Where nodes of a graph say by which call they were made."""
RUN = "run_corrected"
"""The function inside which a forward function runs; its module is ``corrected.module``."""


class Calls:
    """Names the calls of one forward pass: by line, and how often the line has been passed."""

    def __init__(self) -> None:
        self._passed: Counter[str] = Counter()

    def name(self, module: nn.Module) -> str | None:
        """Name the call that is going on, None where another module makes it.

        Args:
            module: Whose forward function runs.
        """
        found = _caller(sys._getframe(1))  # noqa: SLF001
        if found is None or found[0] is not module:
            return None
        self._passed[found[1]] += 1
        return f"{found[1]}#{self._passed[found[1]]}"


def _caller(frame: FrameType | None) -> tuple[object, str] | None:
    """Return the module whose forward function has made a call, and the line that did.

    Lines count from where their function begins, so that they stay when others change. What torch's
    functions call in turn is theirs.
    """
    line = ""
    while frame is not None:
        code = frame.f_code
        if code is nn.Module._call_impl.__code__:  # noqa: SLF001
            return frame.f_locals["self"], line
        if code.co_name == RUN and "corrected" in frame.f_locals:
            return frame.f_locals["corrected"].module, line  # called without its module's hooks
        is_torch = frame.f_globals.get("__name__", "").partition(".")[0] == "torch"
        if frame.f_globals.get("__package__") != __package__ and (
            not line or line.startswith("torch ")
        ):
            prefix = "torch " if is_torch else ""
            line = f"{prefix}{code.co_name}:{frame.f_lineno - code.co_firstlineno}"
        frame = frame.f_back
    return None


class NumberedCalls(TorchFunctionMode):
    """Numbers the calls of every forward function that is running.

    Attributes:
        frames: Every module whose forward function is running, its path, and its calls so far.
        names: Path and call of all of them.
        numbers: Path, call and place to a factor that the code gives.
    """

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[tuple[nn.Module, str, Calls]] = []
        self.names: list[tuple[str, str]] = []
        self.numbers: dict[tuple[str, str, int], float] = {}

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run a function; what it adds to a graph says in which call."""
        del types
        form = FORMS.get(func)
        kwargs = kwargs or {}
        if form is None or not self.frames:
            return func(*args, **kwargs)
        module, path, calls = self.frames[-1]
        name = calls.name(module)
        if name is None:
            return func(*args, **kwargs)
        self.names.append((path, name))
        if isinstance(form, Factor | Scaled):
            number = form.number(args, kwargs)
            if number is not None:
                place = SCALE if isinstance(form, Scaled) else 0
                self.numbers[path, name, place] = number
        with traceback.annotate({META: (path, name)}):
            return func(*args, **kwargs)


@contextmanager
def numbered(module: "nn.Module") -> "Iterator[NumberedCalls]":
    """Number the calls that take sizes while a module runs or is exported.

    The graph's nodes then say in ``meta["custom"][META]`` by which call of which module they were
    made: ``(path, call)``.
    """
    mode = NumberedCalls()
    hooks = []

    def leave(*_: Any) -> None:  # noqa: ANN401
        mode.frames.pop()

    for path, part in module.named_modules():
        enter = functools.partial(_enter, mode, path)
        hooks += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]
    try:
        with traceback.preserve_node_meta(), mode:
            yield mode
    finally:
        for hook in hooks:
            hook.remove()


def _enter(mode: NumberedCalls, path: str, part: nn.Module, *_: Any) -> None:  # noqa: ANN401
    mode.frames.append((part, path, Calls()))
