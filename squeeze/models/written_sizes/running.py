"""Run a module with the sizes that are left."""

import functools
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, cast

import torch  # noqa: TID253  (imported only where a model is)
from torch import nn  # noqa: TID253
from torch.fx import Proxy  # noqa: TID253
from torch.overrides import TorchFunctionMode  # noqa: TID253

from squeeze.models.written_sizes.forms import FORMS, Entry, SizedCall
from squeeze.models.written_sizes.naming import Calls

ATTRIBUTE = "written_sizes"
"""The attribute of a module that holds its sizes."""
Asked = Callable[[str, int], bool]
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class CorrectedSizes(TorchFunctionMode):
    """Replaces sizes in calls of one forward pass.

    Args:
        module: The module whose forward function runs. Calls of its submodules do not count, nor do
            those of their hooks.
        entries: ``(call, place, written, left)`` each.
        asked: Is told ``(call, place)`` of what differs, and says whether to replace it.
    """

    def __init__(
        self, module: "nn.Module", entries: "Sequence[Entry]", asked: "Asked | None" = None
    ) -> None:
        super().__init__()
        self.module = module
        self._by_call: dict[str, list[Entry]] = {}
        for entry in entries:
            self._by_call.setdefault(entry[0], []).append(entry)
        self._asked = asked
        self._calls = Calls()

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run a function, with other sizes where it is one of those."""
        del types
        kwargs = kwargs or {}
        is_traced = any(isinstance(own, Proxy) for own in args)  # torch.fx asks for itself
        if func in FORMS and not is_traced:
            args, kwargs = self.correct(func, args, kwargs)
        return func(*args, **kwargs)

    def correct(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:  # noqa: ANN401
        """Return the arguments of a call that is going on."""
        name = self._calls.name(self.module)
        entries = self._by_call.get(name or "")
        if name and entries:
            call = SizedCall(args, dict(kwargs))
            FORMS[func].correct_(call, entries)
            if all(self._may(name, place) for place in call.replaced):
                return call.args, call.kwargs
        return args, kwargs

    def _may(self, name: str, place: int) -> bool:
        return self._asked is None or self._asked(name, place)


def run_corrected(corrected: CorrectedSizes, function: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
    """Run a forward function of the corrected module."""
    with corrected:
        return function(corrected.module, *args, **kwargs)


def are_entries(value: object) -> bool:
    """Tell a list of ``[call, place, written, left]``, as it comes out of a file."""
    return isinstance(value, list | tuple) and all(_is_entry(entry) for entry in value)


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, list | tuple) or len(entry) != 4:  # noqa: PLR2004
        return False
    call, place, *sizes = entry
    is_place = isinstance(place, int) and not isinstance(place, bool) and place >= 0
    return isinstance(call, str) and is_place and all(type(own) in {int, float} for own in sizes)


def install_(part: "nn.Module", asked: "Asked | None" = None) -> None:
    """Let a module run with the sizes in its ``written_sizes``, in place.

    Args:
        part: The module whose forward function writes them.
        asked: Is told ``(call, place)`` of what differs, and says whether to replace it.
    """
    plain = getattr(type(part), "squeeze_plain", type(part))
    made = _corrected_class(cast("Hashable", plain)) if asked is None else _made(plain, asked)
    part.__class__ = made


def install_all_(module: "nn.Module") -> None:
    """Install the sizes of every part that has some, as after loading."""
    for part in holders(module):
        install_(part)


def holders(module: "nn.Module") -> "Iterator[nn.Module]":
    """Yield the parts that have written sizes."""
    return (part for part in module.modules() if ATTRIBUTE in vars(part))


def _made(plain: type, asked: "Asked | None") -> type:
    inner = plain.forward  # type: ignore[attr-defined]

    # compiled, it would lose the mode without a word
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @functools.wraps(inner)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        corrected = CorrectedSizes(self, getattr(self, ATTRIBUTE), asked)
        return run_corrected(corrected, inner, *args, **kwargs)

    names = {"forward": forward, "squeeze_plain": plain, "__module__": plain.__module__}
    return type(plain.__name__, (plain,), names | {"__qualname__": plain.__qualname__})


@functools.cache
def _corrected_class(plain: Hashable) -> type:
    return _made(cast("type", plain), None)
