"""Time narrowed variants of a model beside the model itself, in the real runtime."""

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import numpy as np

from squeeze.core.types import Silent
from squeeze.measure import latency as timing
from squeeze.measure import statistics
from squeeze.recipe.schema import Speedup
from squeeze.results import Estimate
from squeeze.runtimes.base import Execution
from squeeze.runtimes.runtime import load as load_runtime
from squeeze.store import scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from squeeze.core.types import Progress
    from squeeze.models.types import Model
    from squeeze.runtimes.base import Session

_ROUNDS, _CALLS, _LOW = 7, 2, 0.25


class VariantTimer:
    """Times variants of one model in one runtime, always beside the model itself.

    On one thread it counts the thread's own time, which on an idle machine is the wall's: what
    neighbours take on a busy one would send the search astray. Reports measure the wall's time.
    """

    def __init__(self, model: "Model", speedup: Speedup) -> None:
        self._speedup = speedup
        self._runtime = load_runtime(speedup.runtime)
        self.model = model
        shape = (speedup.batch_size, *model.input.shape)
        self._images = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        self._clock = time.thread_time if speedup.threads == 1 else time.perf_counter
        self._baselines: dict[bool, Session] = {}

    def ratio(self, variant: "Model") -> float:
        """Return the variant's latency over the model's, from a few short rounds."""
        with self._opened(variant, draft=True) as call:
            both = (self._baseline(draft=True), call)
            rounds = [
                [min(timing.block(each, _CALLS, self._clock)) for each in both]
                for _ in range(_ROUNDS)
            ]
        full, narrow = np.quantile(np.array(rounds), _LOW, axis=0)
        return float(narrow / full)

    def speedup(self, variant: "Model", progress: "Progress | None" = None) -> Estimate:
        """Measure the speed-up of the file that ships, interleaved, for as long as reports do."""
        return self.speedups([variant], progress)[0]

    def speedups(
        self, variants: "Sequence[Model]", progress: "Progress | None" = None
    ) -> list[Estimate]:
        """Measure the speed-ups of several variants in the same rounds."""
        label = "timing pruned models"
        with ExitStack() as stack:
            calls = {
                str(number): stack.enter_context(self._opened(variant, draft=False))
                for number, variant in enumerate(variants)
            }
            every = {"full": self._baseline(draft=False), **calls}
            timings = timing.interleaved(every, progress or Silent(), label, self._clock)
        full = timings["full"].rounds_s
        return [statistics.speedup(full, timings[name].rounds_s) for name in calls]

    def close(self) -> None:
        """Give back what the sessions hold."""
        for session in self._baselines.values():
            session.close()
        self._baselines.clear()

    def _baseline(self, *, draft: bool) -> "Callable[[], object]":
        if draft not in self._baselines:
            self._baselines[draft] = self._open(self.model, draft=draft)
        return self._invoke(self._baselines[draft])

    @contextmanager
    def _opened(self, model: "Model", *, draft: bool) -> "Iterator[Callable[[], object]]":
        session = self._open(model, draft=draft)
        try:
            yield self._invoke(session)
        finally:
            session.close()

    def _invoke(self, session: "Session") -> "Callable[[], object]":
        prepared = session.prepare(self._images)
        return lambda: session.invoke(prepared)

    def _open(self, model: "Model", *, draft: bool) -> "Session":
        execution = Execution(threads=self._speedup.threads)
        runtime, batch_size = self._runtime, self._speedup.batch_size
        with scratch() as folder:  # sessions outlive files
            path = folder / f"model{runtime.spec.suffix}"
            if draft:
                runtime.export_draft(model, path, batch_size=batch_size)
            else:
                runtime.export(model, path, batch_size=batch_size)
            return runtime.open_session(path, execution)
