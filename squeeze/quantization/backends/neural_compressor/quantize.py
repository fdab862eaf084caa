"""Quantize a torch module with neural-compressor and export it as an ONNX file."""

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from squeeze.core.errors import SqueezeError, cause_of
from squeeze.core.output import redirect_output
from squeeze.models.copying import copied
from squeeze.quantization.backends.neural_compressor.folding import fold_
from squeeze.quantization.recovery import graph
from squeeze.quantization.request import QuantizedFile, Request
from squeeze.recipe.schema import Autotune, QuantizeStep
from squeeze.results import MissedGoal
from squeeze.runtimes.onnxruntime import export as exporter
from squeeze.store import new_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from neural_compressor.torch.quantization import StaticQuantConfig
    from torch import nn
    from torch.fx import GraphModule

    from squeeze.core.cpu import Cpu
    from squeeze.models.types import Model
    from squeeze.recipe.schema import Quantization

_BATCH = 16
_FULL, _HALF = 8, 16


def quantize(request: Request) -> QuantizedFile:
    """Quantize the torch module, export it and store its weights as what they are.

    Raises:
        SqueezeError: The library or the exporter fails.
    """
    if request.model is None:
        raise SqueezeError("needs the torch model", where="backend neural_compressor")
    try:
        with redirect_output(request.log):
            _import()
            made, outcome = _made(request, request.model)
            with new_file(request.destination) as inside:
                exporter.trace(made, inside, request.model.input.shape)
                fold_(inside)
    except (SqueezeError, OSError):
        raise
    except Exception as error:
        raise SqueezeError(
            f"neural-compressor failed: {cause_of(error)}",
            where=str(request.source),
            hint=f"its full message is in {request.log}" if request.log else None,
        ) from error
    return outcome


def bits(step: "Quantization", target: "Cpu") -> int:
    """Return how many bits weights are going to have; 7 is not among them."""
    del target
    return _HALF if step.scheme == "fp16" else _FULL


def _import() -> None:
    """Import it, and remove the handler with which it logs to a stream of its own choosing."""
    import neural_compressor.torch.quantization  # noqa: F401

    logger = logging.getLogger("neural_compressor")
    logger.handlers.clear()
    logger.propagate = True  # to the run's log, while one is written


def _made(request: Request, model: "Model") -> "tuple[nn.Module, QuantizedFile]":
    from neural_compressor.torch.quantization import StaticQuantConfig

    step = request.step
    if step.scheme == "fp16":
        return _half(model.module), QuantizedFile(
            _HALF, ("weights of convolutions and linear layers are fp16, the rest is fp32",)
        )
    if isinstance(step, QuantizeStep) and step.autotune is not None:
        return _tuned(request, model, step.autotune)
    module = _quantized(_exported(model), StaticQuantConfig(), request)
    return module, QuantizedFile(_FULL, (f"PT2E static on {len(request.samples)} images, min-max",))


def _half(module: "nn.Module") -> "nn.Module":
    """Return a copy whose convolutions and linear layers compute in half precision."""
    from neural_compressor.torch.quantization import MixedPrecisionConfig, convert, prepare

    try:
        plain: nn.Module = graph.folded(module)
    except graph.UntraceableError:
        plain = copied(module)
    halved: nn.Module = convert(prepare(plain.eval(), MixedPrecisionConfig(dtype="fp16")))
    return halved


def _exported(model: "Model") -> "GraphModule":
    import torch
    from neural_compressor.torch.export import export

    example = torch.zeros(2, *model.input.shape)
    shapes = ({0: torch.export.Dim("batch")},)
    exported: GraphModule = export(copied(model.module).eval(), (example,), dynamic_shapes=shapes)
    return exported


def _quantized(
    exported: "GraphModule", config: "StaticQuantConfig", request: Request
) -> "nn.Module":
    from neural_compressor.torch.quantization import convert, prepare

    prepared = prepare(exported, config)
    _calibrate(request)(prepared)
    converted: nn.Module = convert(prepared)
    return converted


def _calibrate(request: Request) -> "Callable[[nn.Module], None]":
    def run(module: "nn.Module") -> None:
        import torch

        with torch.no_grad():
            for images, _ in request.samples.batches(_BATCH):
                module(torch.from_numpy(images))

    return run


def _tuned(request: Request, model: "Model", aim: Autotune) -> "tuple[nn.Module, QuantizedFile]":
    """Let it try its list; where nothing is good enough, the best is returned with a missed goal.

    The library returns the best trial, good enough or not, when the number of trials runs out, and
    None when the list does. The number is set so that it returns one, which is judged here.
    """
    from neural_compressor.torch.quantization import TuningConfig, autotune

    tries, scores = _configurations(), []

    def score(module: "nn.Module") -> float:
        scores.append(_top1(module, request))
        return scores[-1]

    exported = _exported(model)
    baseline = _top1(exported, request)
    if baseline <= 0:
        raise SqueezeError(
            "the float model classifies no calibration sample correctly",
            where="autotune",
            hint="check the labels and the preprocessing of data.calibration",
        )
    found = autotune(
        exported,
        TuningConfig(
            config_set=list(tries.values()),
            tolerable_loss=(aim.max_drop + 1e-9) / baseline,  # relative, and to the last bit
            max_trials=len(tries),
        ),
        eval_fn=score,
        run_fn=_calibrate(request),
    )
    return found, judged(list(tries), scores, aim.max_drop)


def judged(tries: list[str], scores: list[float], max_drop: float) -> QuantizedFile:
    """Describe the trials.

    Args:
        tries: What was tried, in order.
        scores: Top-1 in [0, 1] of the float model, then of every trial that was made.
        max_drop: The largest loss that is allowed, absolute.
    """
    baseline, reached = scores[0], dict(zip(tries, scores[1:], strict=False))
    trials = ", ".join(f"{name} {share:.1%}" for name, share in reached.items())
    best = max(reached, key=lambda name: reached[name])
    note = f"autotune on calibration samples: float {baseline:.1%}; {trials}; chose {best}"
    drop = baseline - reached[best]
    if drop <= max_drop + 1e-9:
        return QuantizedFile(_FULL, (note,))
    missed_goal = MissedGoal(
        aim="autotune",
        limit=f"top-1 drop <= {100 * max_drop:.2f} points",
        found=f"{100 * drop:.2f} points at best ({trials})",
        hint="no configuration is good enough: allow a larger drop, or use backend: auto",
    )
    return replace(QuantizedFile(_FULL, (note,)), missed_goal=missed_goal)


def _configurations() -> "dict[str, StaticQuantConfig]":
    """Return what is tried, the cheapest first."""
    import torch
    from neural_compressor.torch.quantization import StaticQuantConfig

    in_float = StaticQuantConfig(w_dtype="fp32", act_dtype="fp32")
    return {
        "min-max": StaticQuantConfig(),
        "histogram": StaticQuantConfig(act_algo="kl"),
        "min-max with linear layers in float": StaticQuantConfig().set_local(
            torch.nn.Linear, in_float
        ),
    }


def _top1(module: "nn.Module", request: Request) -> float:
    import torch

    right = 0
    with torch.no_grad():
        for images, labels in request.samples.batches(_BATCH):
            right += int((module(torch.from_numpy(images)).argmax(1).numpy() == labels).sum())
    return right / len(request.samples)
