"""Errors of one-step commands name flags: what a recipe calls ``steps.0.lr`` is ``--lr``."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from squeeze.core.errors import InputError, Problem, RecipeError

if TYPE_CHECKING:
    from squeeze.cli.one_step_recipe import OneStepRecipe

_ROLES = ("train", "validation", "calibration")
_INPUT = {
    "model.input": "--input",
    **{
        f"model.input.{key}": f"--{key.replace('_', '-')}"
        for key in ("mean", "std", "fit", "crop_fraction", "interpolation", "channel_order")
    },
}
_DATA = {
    f"data.{role}.{key}": f"--{key.replace('_', '-')}"
    for role in _ROLES
    for key in ("classes", "on_bad_boxes", "on_corrupt", "image_set")
}

SHARED = {
    "name": "--name",
    "seed": "--seed",
    "task": "--task",
    "model": "MODEL",
    "model.args": "--arg",
    **_INPUT,
    "data.train": "--train",
    "data.validation": "--validation",
    **_DATA,
    "targets": "--target",
    "targets.*.threads": "--threads",
}
"""Places in the recipe of a one-step command and the flags that set them."""

OF_FILES = {**_INPUT, "task": "--task", "data.validation": "--validation", **_DATA}
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
    "name its 'weights'": "give --weights",
    "add it to 'classes'": "add it to --classes",
    "'weights: random'": "--weights random",
    "train it ('baseline: {train: …}')": "train it first (squeeze train)",
}
"""What the hints of recipes tell to write, and what it is here."""

_COMMON_WORDS = {"task", "fit", "classes", "scheme", "backend", "importance", "keep"}
"""Keys that are words too: they are taken for keys where a colon and a value follow."""
_SETTING = re.compile(r"(?<![\w-])(--[a-z-]+): (?!found\b)(\w+)")

_KEY = re.compile(r"([a-z_]+):? ")
_UNKNOWN = re.compile(r"unknown ([a-z_]+) '")
"""How the sentence of a value begins that chooses a kind of block: it stands at the block."""
_OF_ARG = re.compile(r"^--set (?:model|steps\.0\.(?:teacher|student))\.args\.")


def names(recipe: "OneStepRecipe", step: Mapping[str, object]) -> dict[str, str]:
    """Return the flag of every place in the recipe of a one-step command.

    Args:
        recipe: That the flags stand for.
        step: Its only step.
    """
    method = str(step["method"])
    own = OF_STEPS[method]
    flags = SHARED | {"steps": f"squeeze {method}", f"0-{method}": f"squeeze {method}"}
    flags |= {f"1-{method}.{key}": flag for key, flag in own.items()}
    flags |= {key: flag for key, flag in own.items() if key not in flags}
    flags |= {f"steps.*.{key}": flag for key, flag in own.items()}
    if "build" in recipe["model"]:
        flags["model.weights"] = "--weights"
    for role in ("teacher", "student"):
        block = step.get(role)
        if isinstance(block, dict) and "build" not in block:
            flags.pop(f"steps.*.{role}.weights", None)  # a bundle folder: the flag of the role
    calibration = recipe["data"].get("calibration")
    flags["data.calibration"] = "--calibration"
    if isinstance(calibration, dict):
        flags["data.calibration.samples"] = "--calibration-samples"
    for number, gate in enumerate(recipe["gates"]):
        flags[f"gates.{number}"] = "--max-drop" if "max_drop" in gate else "--min-speedup"
    return flags


def flag_of(place: str, flags: Mapping[str, str]) -> str | None:
    """Return the flag that sets a place of the recipe or what is around it, or None."""
    parts = place.split(".")
    for count in range(len(parts), 0, -1):
        flag = _exact(".".join(parts[:count]), flags)
        if flag is not None:
            return flag
    return None


def _exact(place: str, flags: Mapping[str, str]) -> str | None:
    """Return the flag that sets just this place, or None."""
    return flags.get(place) or flags.get(re.sub(r"\.[0-9]+\.", ".*.", place))


def _is_place(where: str, flags: Mapping[str, str]) -> bool:
    """Tell a place of the recipe from a file, which may be called ``model.onnx``."""
    key = where.partition(".")[0]
    return bool(_PLACE.fullmatch(where)) or where in flags or (key in flags and key != "model")


def in_flags(text: str, flags: Mapping[str, str]) -> str:
    """Return a sentence in which keys and places of the recipe are flags."""
    for written, flag in _WRITTEN.items():
        text = text.replace(written, flag)
    text = _ARGUMENT.sub(r"--arg \1=\2", text)
    text = _PLACE.sub(lambda place: flag_of(place[0], flags) or place[0], text)
    keys = {place.rpartition(".")[2]: flag for place, flag in flags.items()}
    for key in _COMMON_WORDS & keys.keys():
        text = re.sub(rf"(?<![\w.-]){key}(?=: (?!found\b)\w)", keys[key], text)
    for key, flag in keys.items():
        if "_" in key:
            text = re.sub(rf"(?<![\w.'-]){key}(?![\w.'])", flag, text)
    return _SETTING.sub(r"\1 \2", text)


@contextmanager
def naming_flags(flags: Mapping[str, str]) -> Iterator[None]:
    """Let the mistakes in the user's input that come out of a block name flags."""
    try:
        yield
    except RecipeError as error:
        problems = dict.fromkeys(_problem(problem, flags) for problem in error.problems)
        raise RecipeError([*problems]) from error
    except InputError as error:
        what = error.what
        if error.where is not None and _is_place(error.where, flags):
            flag, what = _precise(error.where, what, flags)
            error.where = flag or error.where
        error.what = in_flags(what, flags)
        error.hint = error.hint and in_flags(error.hint, flags)
        raise


def _problem(problem: Problem, flags: Mapping[str, str]) -> Problem:
    if problem.where != "flags":  # a --set, which speaks of the recipe
        return Problem(_OF_ARG.sub("--arg ", problem.where), problem.what)
    place, colon, what = problem.what.partition(": ")
    if not colon or " " in place:
        return Problem(problem.where, in_flags(problem.what, flags))
    flag, what = _precise(place, what, flags)
    if flag is None:
        return Problem(problem.where, in_flags(problem.what, flags))
    return Problem(flag, in_flags(what, flags))


def _precise(place: str, what: str, flags: Mapping[str, str]) -> tuple[str | None, str]:
    """Return the flag of a place and what is wrong; a block's sentence may begin with its key."""
    choice = _UNKNOWN.match(what)
    if choice:
        return _exact(f"{place}.{choice[1]}", flags) or flag_of(place, flags), what
    key = _KEY.match(what)
    inner = key and _exact(f"{place}.{key[1]}", flags)
    if key and inner:
        return inner, what[key.end() :]
    return flag_of(place, flags), what
