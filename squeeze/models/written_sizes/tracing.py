"""Traces of torch.fx, with the sizes that are left written into the graph."""

import operator
import sys
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253  (imported only where a model is)
from torch import Tensor, fx  # noqa: TID253

from squeeze.models.written_sizes.forms import FORMS
from squeeze.models.written_sizes.naming import RUN

if TYPE_CHECKING:
    from types import FrameType

    from torch import nn

    from squeeze.models.written_sizes.running import CorrectedSizes

_METHODS: dict[Any, Any] = {
    operator.getitem: Tensor.__getitem__,
    operator.mul: Tensor.mul,
    operator.truediv: Tensor.div,
}


def traced(module: "nn.Module") -> fx.GraphModule:
    """Return what ``torch.fx.symbolic_trace`` does, sizes corrected where the module has some."""
    graph = _CorrectingTracer().trace(module)
    return fx.GraphModule(module, graph, type(module).__name__)


class _CorrectingTracer(fx.Tracer):
    """Corrects the calls of forward functions that run with corrected sizes."""

    def create_proxy(
        self,
        kind: str,
        target: Any,  # noqa: ANN401
        args: Any,  # noqa: ANN401
        kwargs: Any,  # noqa: ANN401
        name: str | None = None,
        type_expr: Any = None,  # noqa: ANN401
        proxy_factory_fn: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Note a call in the graph."""
        function = _function(kind, target)
        if function in FORMS:
            corrected = _corrected(sys._getframe(1))  # noqa: SLF001
            if corrected is not None:
                if len(args) > 1 and isinstance(args[0], float):
                    args = (args[1], args[0])  # 0.5 * x
                args, kwargs = corrected.correct(function, args, kwargs)
        return super().create_proxy(kind, target, args, kwargs, name, type_expr, proxy_factory_fn)


def _function(kind: str, target: Any) -> Any:  # noqa: ANN401
    """Return the function of torch that a call means, None where it is no call of one."""
    if kind == "call_method":
        return getattr(Tensor, target, None)
    return _METHODS.get(target, target) if kind == "call_function" else None


def _corrected(frame: "FrameType | None") -> "CorrectedSizes | None":
    """Return the sizes of the forward function that has made a call, None where it has none."""
    while frame is not None:
        if frame.f_code is torch.nn.Module._call_impl.__code__:  # noqa: SLF001
            return None
        if frame.f_code.co_name == RUN and "corrected" in frame.f_locals:
            found: CorrectedSizes = frame.f_locals["corrected"]
            return found
        frame = frame.f_back
    return None
