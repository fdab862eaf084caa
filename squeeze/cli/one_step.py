"""``prune``, ``quantize`` and ``distill``: flags that build a recipe of one step, and run it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from squeeze.cli import completion, flag_names, options
from squeeze.cli.data_flags import DataFlags
from squeeze.cli.flag_groups import Switches
from squeeze.cli.model_flags import ModelFlags
from squeeze.cli.one_step_recipe import OneStepRecipe
from squeeze.cli.run import RunFlags
from squeeze.core import plugins, tasks

_RUNTIME = "onnxruntime"


@dataclass(frozen=True, kw_only=True)
class SetFlags:
    """The data of a run."""

    validation: Annotated[
        str, typer.Option(metavar="DATA", help=f"Validation data: {options.HELP_DATA}")
    ]
    train: Annotated[
        str | None, typer.Option(metavar="DATA", help="Training data, named the same way.")
    ] = None
    task: Annotated[
        str,
        typer.Option(
            metavar="TASK",
            help="classification or detection.",
            autocompletion=completion.of_group(plugins.TASKS),
        ),
    ] = tasks.DEFAULT
    read: DataFlags

    def blocks(self) -> dict[str, object]:
        """Return the data block that the flags stand for."""
        blocks: dict[str, object] = {"validation": self.read.source(self.validation, "validation")}
        if self.train is not None:
            blocks["train"] = self.read.source(self.train, "train")
        return blocks


@dataclass(frozen=True, kw_only=True)
class GoalFlags:
    """Where the result is measured, and what it must reach."""

    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUNTIME",
            help=f"Runtime to measure on; may be repeated. Default: {_RUNTIME}.",
            autocompletion=completion.of_group(plugins.RUNTIMES),
        ),
    ] = None
    threads: options.Threads = 1
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="Gate: largest allowed drop of top-1, or of mAP in detection; 0.01 is one point."
        ),
    ] = None
    min_speedup: Annotated[
        float | None, typer.Option(help="Gate: smallest speed-up over the baseline.")
    ] = None

    @property
    def runtimes(self) -> list[str]:
        """The runtimes to measure on."""
        return self.target or [_RUNTIME]

    def gates(self, task: str) -> list[dict[str, object]]:
        """Return the gates that the flags stand for; an unknown task is reported elsewhere."""
        gates: list[dict[str, object]] = []
        if self.max_drop is not None and task in plugins.names(plugins.TASKS):
            gates.append({"metric": tasks.spec_of(task).main.name, "max_drop": self.max_drop})
        if self.min_speedup is not None:
            gates.append({"metric": "latency", "min_speedup": self.min_speedup})
        return gates


@dataclass(frozen=True, kw_only=True)
class OneStepFlags:
    """What the three verbs share."""

    model: ModelFlags
    sets: SetFlags
    goals: GoalFlags
    name: Annotated[
        str | None, typer.Option(help="Name of the recipe and of the folder of its runs.")
    ] = None
    seed: Annotated[int, typer.Option(help="Seed of everything random.", min=0)] = 0
    set: options.Overrides = None
    save_recipe: Annotated[
        Path | None, typer.Option(help="Also write the recipe to this file.")
    ] = None
    running: RunFlags
    switches: Switches

    def recipe(self, step: Mapping[str, object], calibration: object = None) -> OneStepRecipe:
        """Return the recipe that the flags stand for.

        Args:
            step: Its only step; None was not given.
            calibration: The block of the calibration data.

        Raises:
            InputError: A flag cannot be read.
        """
        goals, task = self.goals, self.sets.task
        recipe = OneStepRecipe(
            version=1,
            name=self.name or f"{_stem(self.model.model)}_{step['method']}",
            seed=self.seed,
            model=self.model.block(),
            data=self.sets.blocks(),
            steps=[{key: value for key, value in step.items() if value is not None}],
            targets=[{"runtime": name, "threads": goals.threads} for name in goals.runtimes],
            gates=goals.gates(task),
        )
        if calibration is not None:
            recipe["data"]["calibration"] = calibration
        if task != tasks.DEFAULT:
            recipe["task"] = task
        return recipe


def _stem(model: str) -> str:
    """Return the name that a model gives to a recipe."""
    last = model.rpartition(":")[2].rpartition("/")[2]
    return "".join(c if c.isalnum() else "_" for c in last).strip("_") or "model"


def run(
    flags: OneStepFlags,
    step: Mapping[str, object],
    calibration: object = None,
    overrides: Sequence[str] = (),
) -> None:
    """Complete the recipe with its step, save it where asked, and run it.

    Args:
        flags: What the verbs share.
        step: Its block in the recipe; None was not given.
        calibration: The block of the calibration data, where the step needs any.
        overrides: Further ones like those of ``--set``, which goes before them.

    Raises:
        InputError: Something is wrong with the flags, which are named.
    """
    recipe = flags.recipe(step, calibration)
    with flag_names.naming_flags(flag_names.names(recipe, step)):
        _run(flags, recipe, overrides)


def _run(flags: OneStepFlags, recipe: OneStepRecipe, overrides: Sequence[str]) -> None:
    from squeeze.cli import devices as processes
    from squeeze.cli.run import start
    from squeeze.recipe import plan
    from squeeze.recipe.load import from_data

    arguments = (f"model.args.{pair}" for pair in flags.model.arguments)
    loaded = from_data(dict(recipe), Path.cwd(), (*arguments, *overrides, *(flags.set or ())))
    if flags.save_recipe is not None and processes.leads():
        plan.check(loaded)
        save(recipe, flags.save_recipe)
    start(loaded, flags.running, flags.switches)


def save(recipe: Mapping[str, object], path: Path) -> None:
    """Write a recipe; its relative paths are made to start at the file's folder."""
    from squeeze.recipe import paths
    from squeeze.recipe.document import dump
    from squeeze.recipe.load import from_data
    from squeeze.store import write_text

    given = from_data(dict(recipe), Path.cwd())
    moved = paths.moved(given.recipe, given.folder, path.parent)
    write_text(path, dump(paths.plain(moved)))
