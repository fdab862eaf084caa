"""Errors of one-step commands speak of flags: what a recipe calls ``steps.0.lr`` is ``--lr``."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from squeeze.core.errors import InputError, Problem, RecipeError

if TYPE_CHECKING:
    from squeeze.cli.one_step import Flags

P = ParamSpec("P")
R = TypeVar("R")

SHARED = {
    "name": "--name",
    "seed": "--seed",
    "model": "MODEL",
    "model.args": "--arg",
    "model.input": "--input",
    "model.input.mean": "--mean",
    "model.input.std": "--std",
    "data.train": "--train",
    "data.validation": "--validation",
    "targets": "--target",
    "targets.*.threads": "--threads",
}
"""Places in the recipe of a one-step command and the flags that set them."""

OF_FILES = {
    **{
        f"model.input.{key}": f"--{key.replace('_', '-')}"
        for key in ("mean", "std", "fit", "crop_fraction", "interpolation", "channel_order")
    },
    "model.input": "--input",
    "data.validation": "--validation",
    "data.validation.classes": "--classes",
}
"""The same of a file that is measured without a recipe."""

_TRAINING = {"epochs": "--epochs", "lr": "--lr", "batch_size": "--batch-size"}
OF_STEPS = {
    "prune": {
        **{
            key: f"--{key.replace('_', '-')}"
            for key in (
                *("pruning_ratio", "speedup", "macs", "params", "size", "importance", "ranking"),
                *("rounds", "max_ratio", "keep", "attention", "align"),
            )
        },
        "speedup.runtime": "--target",
        "speedup.threads": "--threads",
        "finetune": "--epochs",
        **{f"finetune.{key}": flag for key, flag in _TRAINING.items()},
    },
    "quantize": {
        "scheme": "--scheme",
        "backend": "--backend",
        "autotune": "--autotune",
        "weight_bits": "--weight-bits",
        "calibrator": "--calibrator",
        "calibrator.percentile": "--percentile",
        "keep_float": "--keep-float",
        "mixed_precision": "--mixed-precision",
        "recovery": "--recovery",
    },
    "distill": {
        "teacher": "--teacher",
        "teacher.weights": "--teacher-weights",
        "student": "--student",
        "student.weights": "--student-weights",
        "losses": "--loss",
        "losses.*.temperature": "--temperature",
        **_TRAINING,
    },
}
"""The same inside the step."""

_PLACE = re.compile(
    r"\b(?:model\.(?:build|weights|backbone_weights|args|input)"
    r"|data\.(?:train|validation|calibration)"
    r"|(?:steps|targets|gates)\.[0-9]+)(?:\.\w+)*\b(?![/\\])"
)
_ARGUMENT = re.compile(r"\bmodel\.args\.(\w+): (\S+)")
_WRITTEN = {
    "'weights: random'": "--weights random",
    "train it ('baseline: {train: …}')": "train it first (squeeze train)",
}
"""What the hints of recipes tell to write, and what it is here."""

_OF_ARG = re.compile(r"^--set (?:model|steps\.0\.(?:teacher|student))\.args\.")


def names(recipe: Mapping[str, Any], step: Mapping[str, Any]) -> dict[str, str]:
    """Return the flag of every place in the recipe of a one-step command.

    Args:
        recipe: That the flags stand for.
        step: Its only step.
    """
    method = step["method"]
    own = OF_STEPS[method]
    found = SHARED | {"steps": f"squeeze {method}", f"0-{method}": f"squeeze {method}"}
    found |= {f"1-{method}.{key}": flag for key, flag in own.items()}
    found |= {key: flag for key, flag in own.items() if key not in found}
    found |= {f"steps.*.{key}": flag for key, flag in own.items()}
    if "build" in recipe["model"]:
        found["model.weights"] = "--weights"
    for role in ("teacher", "student"):
        if isinstance(step.get(role), dict) and "build" not in step[role]:
            found.pop(f"steps.*.{role}.weights", None)  # a bundle folder: the flag of the role
    calibration = recipe["data"].get("calibration")
    found["data.calibration"] = "--calibration"
    if isinstance(calibration, dict):
        found["data.calibration.samples"] = "--calibration-samples"
    for number, gate in enumerate(recipe["gates"]):
        found[f"gates.{number}"] = "--max-drop" if "max_drop" in gate else "--min-speedup"
    return found


def flag_of(place: str, flags: Mapping[str, str]) -> str | None:
    """Return the flag that sets a place of the recipe or what is around it, or None."""
    parts = place.split(".")
    for count in range(len(parts), 0, -1):
        exact = ".".join(parts[:count])
        found = flags.get(exact) or flags.get(re.sub(r"\.[0-9]+\.", ".*.", exact))
        if found is not None:
            return found
    return None


def _is_place(where: str, flags: Mapping[str, str]) -> bool:
    """Tell a place of the recipe from a file, which may be called ``model.onnx``."""
    key = where.partition(".")[0]
    return bool(_PLACE.fullmatch(where)) or where in flags or (key in flags and key != "model")


def spoken(text: str, flags: Mapping[str, str]) -> str:
    """Return a sentence in which places of the recipe are flags."""
    for written, flag in _WRITTEN.items():
        text = text.replace(written, flag)
    text = _ARGUMENT.sub(r"--arg \1=\2", text)
    return _PLACE.sub(lambda place: flag_of(place[0], flags) or place[0], text)


@contextmanager
def speaking(flags: Mapping[str, str]) -> Iterator[None]:
    """Let the mistakes in the user's input that come out of a block name flags."""
    try:
        yield
    except RecipeError as error:
        raise RecipeError([_problem(problem, flags) for problem in error.problems]) from error
    except InputError as error:
        if error.where is not None and _is_place(error.where, flags):
            error.where = flag_of(error.where, flags) or error.where
        error.what = spoken(error.what, flags)
        error.hint = error.hint and spoken(error.hint, flags)
        raise


def _problem(problem: Problem, flags: Mapping[str, str]) -> Problem:
    if problem.where != "flags":  # a --set, which speaks of the recipe
        return Problem(_OF_ARG.sub("--arg ", problem.where), problem.what)
    place, colon, what = problem.what.partition(": ")
    flag = flag_of(place, flags) if colon and " " not in place else None
    if flag is None:
        return Problem(problem.where, spoken(problem.what, flags))
    return Problem(flag, spoken(what, flags))


def of_one_step(
    run: "Callable[Concatenate[Flags, dict[str, Any], P], R]",
) -> "Callable[Concatenate[Flags, dict[str, Any], P], R]":
    """Let the errors of a one-step command name the flags that it was given."""

    @wraps(run)
    def inside(flags: "Flags", step: dict[str, Any], /, *args: P.args, **kwargs: P.kwargs) -> R:
        with speaking(names(flags.recipe, step)):
            return run(flags, step, *args, **kwargs)

    return inside
