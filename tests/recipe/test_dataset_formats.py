"""Dataset formats of other packages, and the keys that they use."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from squeeze.core import plugins
from squeeze.core.errors import RecipeError
from squeeze.recipe import plan
from squeeze.recipe.load import from_data

OPEN = "def open_samples(source, folder, split): raise NotImplementedError\n"
DECLARED = (
    "from squeeze.recipe.schema import Block\nKEYS = {'args', 'image_set'}\n"
    "class Options(Block):\n    side: int = 8\n" + OPEN
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


def test_a_format_that_declares_nothing_takes_what_is_usual(told: Told) -> None:
    keys = {"path": ".", "args": {"anything": 1}, "split": "train", "samples": 9}
    assert told(OPEN, **keys, classes=["a", "b"], on_corrupt="skip") == []
    hint = "; what it uses stands in KEYS of their_format"
    assert told(OPEN, image_set="x", name="y", on_bad_boxes="repair") == [
        f".image_set: format 'theirs' does not use 'image_set'{hint}",
        f".name: format 'theirs' does not use 'name'{hint}",
        f".on_bad_boxes: format 'theirs' does not use 'on_bad_boxes'{hint}",
    ]
    assert "unknown key 'pth'" in told(OPEN, pth=".")[0]


def test_a_format_says_its_keys_and_arguments(told: Told) -> None:
    assert told(DECLARED, image_set="x", args={"side": 9}) == []
    assert told(DECLARED, path=".", args={"sde": 9}) == [
        ".path: format 'theirs' does not use 'path'; what it uses stands in KEYS of their_format",
        ".args.sde: unknown argument of 'theirs' 'sde', allowed: side; did you mean 'side'?",
    ]
    assert "args.side: found 'x', allowed:" in told(DECLARED, args={"side": "x"})[0]


def test_a_module_that_is_no_format(told: Told) -> None:
    assert told("x = 1\n") == [".format: their_format is no dataset format: it has no open_samples"]
    assert "cannot be imported" in told("import nowhere_to_be_found\n")[0]
    assert "cannot be imported: SyntaxError" in told("def (:\n")[0]
