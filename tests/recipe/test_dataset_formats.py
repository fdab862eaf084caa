"""Dataset formats of other packages, and the keys that they use."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from squeeze.core import plugins
from squeeze.core.errors import RecipeError
from squeeze.recipe import dataset_formats, plan
from squeeze.recipe.load import from_data
from squeeze.recipe.schema import DataSource

OPEN = "def open_samples(source, folder, split): raise NotImplementedError\n"
SPEC = "from squeeze.core.specs import FormatSpec\nSPEC = FormatSpec({})\n"
PLAIN = SPEC.format("'either', uses=('path', 'args', 'split')") + OPEN
DECLARED = (
    SPEC.format("'classes', needs=('image_set',), uses=('args',)")
    + "from squeeze.recipe.schema import Block\nclass Options(Block):\n    side: int = 8\n"
    + OPEN
)

Told = Callable[..., list[str]]


@pytest.fixture
def told(recipe_data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """Return what check says about a data block of the format ``theirs``."""
    info = tmp_path / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{plugins.DATASETS}]\ntheirs = their_format\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def found(code: str, **keys: Any) -> list[str]:
        (tmp_path / "their_format.py").write_text(code)
        sys.modules.pop("their_format", None)
        recipe_data["data"]["validation"] = {"format": "theirs", **keys}
        try:
            plan.check(from_data(recipe_data, tmp_path))
        except RecipeError as error:
            return [str(p).removeprefix("flags: data.validation") for p in error.problems]
        return []

    yield found
    sys.modules.pop("their_format", None)


def test_a_format_without_options_takes_any_arguments(told: Told) -> None:
    keys = {"path": ".", "args": {"anything": 1}, "split": "train", "samples": 9}
    assert told(PLAIN, **keys, classes=["a", "b"], on_corrupt="skip") == []
    assert told(PLAIN, image_set="x", on_bad_boxes="repair") == [
        ".image_set: format 'theirs' does not use 'image_set'; it uses args, path, split",
        ".on_bad_boxes: format 'theirs' does not use 'on_bad_boxes'; it uses args, path, split",
    ]
    assert "unknown key 'pth'" in told(PLAIN, pth=".")[0]


def test_a_format_says_its_keys_and_arguments(told: Told) -> None:
    assert told(DECLARED, image_set="x", args={"side": 9}) == []
    assert told(DECLARED, path=".", args={"sde": 9}) == [
        ": format 'theirs' needs 'image_set'",
        ".path: format 'theirs' does not use 'path'; it uses args, image_set",
        ".args.sde: unknown argument of 'theirs' 'sde', allowed: side; did you mean 'side'?",
    ]
    assert ".args.side: found 'x', allowed:" in told(DECLARED, image_set="x", args={"side": "x"})[0]


def test_labels_must_be_those_of_the_task(told: Told) -> None:
    boxes = SPEC.format("'boxes'") + OPEN
    assert told(boxes) == [".format: 'theirs' has boxes; set task: detection"]


def test_a_module_that_is_no_format(told: Told) -> None:
    missing = "their_format: is not a format: its SPEC is not a squeeze.core.specs.FormatSpec"
    assert told(OPEN) == [f".format: {missing}"]
    assert told(SPEC.format("'either'")) == [
        ".format: their_format is not a format: it has no open_samples"
    ]
    assert "cannot be imported" in told("import nowhere_to_be_found\n")[0]
    assert "cannot be imported: SyntaxError" in told("def (:\n")[0]


def test_the_arguments_of_a_built_in_format_are_checked_too(recipe_data: dict[str, Any]) -> None:
    scenes = {"format": "digit_scenes", "args": {"side": 20, "scens": 4, "most": "5"}}
    recipe_data["data"] = {"validation": scenes}
    source = DataSource.model_validate(scenes)
    assert list(dataset_formats.wrong_args(source)) == [
        (("args", "side"), "found 20, allowed: greater than or equal to 48"),
        (("args", "most"), "found '5', allowed: a valid integer"),
        (
            ("args", "scens"),
            "unknown argument of 'digit_scenes' 'scens', allowed: most, scenes, seed, side; did "
            "you mean 'scenes'?",
        ),
    ]
