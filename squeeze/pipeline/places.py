"""Where files run: the batch sizes of a recipe's targets."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from squeeze.core import cpu
from squeeze.core.errors import InputError
from squeeze.recipe.schema import Recipe, Target
from squeeze.results import Row
from squeeze.runtimes import runtime as runtimes

if TYPE_CHECKING:
    from squeeze.runtimes.runtime import Runtime


@dataclass(frozen=True)
class FilePlace:
    """One of a target's batch sizes."""

    target: Target
    batch_size: int

    @property
    def runtime(self) -> "Runtime":
        """The target's runtime."""
        return runtimes.load(self.target.runtime)

    @property
    def unavailable(self) -> str | None:
        """Why nothing can run here, or None."""
        return self.runtime.unavailable(self.target.device)

    def without(self, model: str, reason: str) -> Row:
        """Return the row that says why a model is not measured here."""
        return Row(
            model=model,
            target=self.target.label,
            runtime=self.target.runtime,
            device=self.target.device,
            precision=self.target.precision,
            threads=self.target.threads,
            batch_size=self.batch_size,
            made_for=cpu.other_than_host(self.target.cpu),
            skipped=reason,
        )


def places(recipe: Recipe) -> Iterator[FilePlace]:
    """Yield every place of a recipe, in its order."""
    for target in recipe.targets:
        for batch_size in target.batch_sizes:
            yield FilePlace(target, batch_size)


def check_targets(targets: Iterable[Target]) -> None:
    """Refuse targets that cannot run here, before anything is trained for them.

    Raises:
        InputError: A target cannot run here and may not be left out.
    """
    for target in targets:
        reason = FilePlace(target, 1).unavailable
        if reason is not None and not target.if_available:
            raise InputError(
                reason,
                where=f"target {target.label}",
                hint="set if_available: true to skip it",
            )
