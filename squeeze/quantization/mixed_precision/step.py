"""Which layers of a quantize step stay float: the recipe's, and those that a search finds."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core import cpu
from squeeze.core.errors import SqueezeError
from squeeze.quantization.keep_float import kept
from squeeze.quantization.mixed_precision.trial_store import TrialStore
from squeeze.quantization.mixed_precision.trials import TrialSetup, mix
from squeeze.recipe.schema import MixedPrecision, Quantization, QuantizeStep, Target
from squeeze.results import MissedGoal, MixedPrecisionSearch
from squeeze.runtimes import runtime
from squeeze.runtimes.base import Execution
from squeeze.store import scratch

if TYPE_CHECKING:
    from collections.abc import Callable

    from squeeze.data.splits import Split
    from squeeze.measure.evaluator import Evaluator
    from squeeze.models.types import Model
    from squeeze.quantization.request import QuantizedFile, Request

_SHOWN = 6


@dataclass(frozen=True)
class FloatLayers:
    """Decides what stays float in the files of a quantize step.

    Attributes:
        step: The recipe's.
        where: Its place in the recipe.
        calibration: The samples that set ranges.
        train: What losses are measured on, without what calibrates.
        evaluator: Reads the outputs.
        seed: Draws the samples.
    """

    step: Quantization
    where: str
    calibration: "Split | None"
    train: "Split | None"
    evaluator: "Evaluator"
    seed: int

    def keep_float(
        self, model: "Model | None", exported: "Model", batch_size: int
    ) -> kept.KeepFloat | None:
        """Return what stays float in a file because the recipe says so; None if nothing may.

        Args:
            model: Whose layers the recipe's patterns name.
            exported: What the float file is made from: the same, or rewritten by recovery.
            batch_size: Of the file.

        Raises:
            InputError: A pattern names no layer.
        """
        step = self.step
        if not isinstance(step, QuantizeStep) or not (step.keep_float or step.mixed_precision):
            return None
        if model is None or self.calibration is None:
            raise SqueezeError("needs a float model and calibration data", where=self.where)
        where = f"{self.where}.keep_float"
        reasons = kept.reasons(model.module, step.keep_float, where=where)
        return kept.keep_float(exported, reasons, self.calibration, batch_size=batch_size)

    def quantize(
        self,
        quantize: "Callable[[Request], QuantizedFile]",
        request: "Request",
        target: Target,
        batch_size: int,
        store: TrialStore | None = None,
    ) -> "QuantizedFile":
        """Make a file; the notes say what stays float in it.

        Args:
            quantize: The backend's function.
            request: For one float file.
            target: Where it is going to run.
            batch_size: What is timed.
            store: Of the trials of mixed precision; None keeps them while they are needed.
        """
        settings = self.step.mixed_precision if isinstance(self.step, QuantizeStep) else None
        if settings is None:
            outcome, notes = quantize(request), list[str]()
        else:
            with scratch() as folder:
                suffix, warn = request.destination.suffix, request.progress.warn
                store = store or TrialStore(folder, "", suffix, warn)
                outcome = mix(quantize, request, self._setup(settings, target, batch_size), store)
            notes = [] if outcome.search is None else [_summary(outcome.search)]
        kept = outcome.facts.kept
        for reason in dict.fromkeys(kept.values()):
            count = sum(other == reason for other in kept.values())
            notes.append(f"{count} operator{'s' * (count > 1)} {reason}")
        missed = outcome.missed_goal or _missed_goal(outcome.search)
        return replace(outcome, notes=(*outcome.notes, *notes), missed_goal=missed)

    def _setup(self, settings: MixedPrecision, target: Target, batch_size: int) -> TrialSetup:
        samples, source = self._samples(settings.samples)
        return TrialSetup(
            settings,
            runtime.load(target.runtime),
            Execution(target.threads, target.device, "int8"),
            batch_size,
            samples,
            source,
            self.evaluator,
            target.label,
            cpu.other_than_host(target.cpu),
        )

    def _samples(self, count: int) -> "tuple[Split, str]":
        """Return what losses are measured on, and what to call it."""
        if self.calibration is None:
            raise SqueezeError(
                "needs calibration data", where=self.where, hint="add data.calibration"
            )
        hidden = set(self.calibration.digests)
        if self.train is not None:
            free = [p for p, digest in enumerate(self.train.digests) if digest not in hidden]
            if free:
                drawn = np.random.default_rng(self.seed).permutation(free)[:count]
                split = replace(self.train.take(np.sort(drawn).tolist()), keep=False)
                return split, "training images that calibrate nothing"
        return (
            self.calibration.take(range(min(count, len(self.calibration)))),
            "calibration images, which also set the ranges: the loss may be larger elsewhere",
        )


def _missed_goal(search: MixedPrecisionSearch | None) -> MissedGoal | None:
    """Return the limit that no trial met."""
    if search is None or search.met:
        return None
    best = next(trial for trial in search.trials if trial.chosen)
    return MissedGoal(
        aim=f"mixed_precision on {search.target}",
        limit=f"loss of {search.metric} at most {100 * search.max_drop:.2f} points",
        found=f"{100 * best.drop:.2f} points with layers in float: {len(best.layers)}",
        hint="allow a larger max_drop or more max_layers, or train with scheme: qat_int8",
    )


def _summary(made: MixedPrecisionSearch) -> str:
    plain = next(trial for trial in made.trials if not trial.layers)
    best = next(trial for trial in made.trials if trial.chosen)
    what = f"loss of {made.metric} on {made.samples} {made.source}"
    limit = f"limit {100 * made.max_drop:.2f}"
    if not best.layers:
        verdict = "meets" if made.met else "misses"
        return (
            f"mixed precision: all in int8 {verdict} the limit: {what} {100 * plain.drop:.2f} "
            f"points, {limit}"
        )
    names = ", ".join(best.layers[:_SHOWN]) + (", …" if len(best.layers) > _SHOWN else "")
    verdict = "" if made.met else "; no trial meets the limit, this is the best found"
    return (
        f"mixed precision: {len(best.layers)} of {len(made.ranking)} layers in float ({names}): "
        f"{what} {100 * plain.drop:.2f} → {100 * best.drop:.2f} points, {limit}{verdict}"
    )
