"""What the documents show is true: every block of code in them is run, parsed or validated."""

import importlib.util
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
import yaml

from squeeze.cli.app import app
from squeeze.core import plugins
from squeeze.recipe import plan
from squeeze.recipe.load import from_data
from squeeze.recipe.schema import Recipe

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/*.md", "docs/[a-z]*/*.md", "examples/*/*.md")
    for page in ROOT.glob(pattern)
)
_FENCE = re.compile(
    r"(?P<mark>^ *<!-- run -->\n)?^(?P<indent> *)```(?P<kind>\S*)[^\n]*\n"
    r"(?P<text>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)
_PLAIN = {"cat", "cd", "sha256sum"}
_BOXES = {"voc", "coco", "yolo"}
_MISSING = re.compile("no such file or folder|no such folder|no such file")
"""What is said of data and weights that the documents only name."""


@dataclass(frozen=True)
class CodeBlock:
    """A fenced block of a page; ``runs`` says that a page wants it to be run."""

    page: Path
    kind: str
    text: str
    runs: bool

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.text.partition(chr(10))[0]}"


def blocks(*kinds: str) -> list[CodeBlock]:
    """Return all blocks of these kinds, in the order of the pages."""
    found = [
        CodeBlock(page, fence["kind"], textwrap.dedent(fence["text"]), bool(fence["mark"]))
        for page in PAGES
        for fence in _FENCE.finditer(page.read_text())
    ]
    return [block for block in found if block.kind in kinds or not kinds]


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of every command of a shell block."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        ends = [index for index, word in enumerate(words) if word in {">", ">>"}]
        if words:
            yield words[: ends[0] if ends else None]


def test_no_block_goes_unchecked() -> None:
    kinds = {block.kind for block in blocks() if not block.kind.startswith("{")}
    assert kinds == {"yaml", "sh", "python"}


def base_recipe(fragment: dict[str, Any]) -> dict[str, Any]:
    """Return the README's recipe, made fit for a fragment about detection."""
    (whole,) = [b for b in blocks("yaml") if b.page.name == "README.md"]
    recipe: dict[str, Any] = yaml.safe_load(whole.text)
    formats = {
        source.get("format")
        for source in fragment.get("data", {}).values()
        if isinstance(source, dict)
    }
    if formats & _BOXES or "num_labels" in fragment.get("model", {}).get("args", {}):
        recipe |= {"task": "detection", "gates": [], "steps": []}
        recipe["data"] = {
            key: {"format": "voc", "path": "data", "classes": ["a", "b", "c"]}
            for key in ("train", "validation")
        }
        recipe["model"] = {
            "build": "builtin:tinydet",
            "args": {"num_classes": 3},
            "weights": "w.safetensors",
            "input": {"shape": [3, 256, 320], "fit": "stretch"},
        }
    return recipe


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_is_a_recipe_or_a_part_of_one(block: CodeBlock, tmp_path: Path) -> None:
    data = yaml.safe_load(block.text)
    if isinstance(data, list) and "run" in data[0]:
        for step in data:
            for words in commands(step["run"]):
                check_command(words)
        return
    if isinstance(data, list):
        data = {"steps": data}
    assert set(data) <= set(Recipe.model_fields), "neither keys of a recipe nor steps nor CI"
    whole = data if "version" in data else base_recipe(data) | data
    if "calibration" not in whole["data"]:
        whole["data"] |= {"calibration": {"from": "train", "samples": 8}}
    loaded = from_data(whole, tmp_path)
    found = [what for _, what in plan.mistakes(loaded.recipe, loaded.folder)]
    assert [what for what in found if not _MISSING.search(what)] == []


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_shell_commands_exist_with_their_flags(block: CodeBlock) -> None:
    for words in commands(block.text):
        check_command(words)


def check_command(words: list[str]) -> None:
    """Fail if a command is not known, or does not take these arguments."""
    program, *arguments = words
    if program == "squeeze":
        command = typer.main.get_command(app)
        name = program
        while arguments and arguments[0] in getattr(command, "commands", {}):
            name = arguments.pop(0)
            command = command.commands[name]  # type: ignore[attr-defined]
        assert name != "squeeze", f"no such verb: {' '.join(words)}"
        command.make_context(name, arguments)
    elif program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
    elif program == "pip":
        extras = re.findall(r"\[([\w,-]+)\]", arguments[-1])
        assert set(extras) <= set(PROJECT["project"]["optional-dependencies"]), words
    else:
        assert program in _PLAIN, f"unknown program: {' '.join(words)}"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what commands of the documents expect beside them."""
    folder = tmp_path_factory.mktemp("pages")
    for name in ("examples", "recipes"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def test_python_blocks_run(workplace: Path) -> None:
    shown = [block for block in blocks("python") if not block.runs]
    program = "\n".join(f"exec({block.text!r}, {{'__name__': 'page'}})" for block in shown)
    assert len(shown) >= 2
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=workplace, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _pages_to_run() -> Iterator[Any]:
    for page in PAGES:
        text = "".join(block.text for block in blocks() if block.page == page and block.runs)
        if text:
            is_slow = re.search(r"squeeze(\.| )(run|quantize)", text)
            marks = [pytest.mark.slow] if is_slow else []
            yield pytest.param(page, id=str(page.relative_to(ROOT)), marks=marks)


@pytest.mark.parametrize("page", list(_pages_to_run()))
def test_blocks_that_a_page_wants_run_do_run(page: Path, workplace: Path) -> None:
    for block in blocks("sh", "python"):
        if block.page == page and block.runs:
            here = f'squeeze() {{ {shlex.quote(sys.executable)} -m squeeze "$@"; }}\nset -e\n'
            call = ["bash", "-c", here + block.text]
            if block.kind == "python":
                call = [sys.executable, "-c", block.text]
            done = subprocess.run(call, cwd=workplace, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!http|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)


def test_the_glossary_names_classes_that_exist() -> None:
    terms = (ROOT / "docs" / "glossary.md").read_text()
    named = set(re.findall(r"`([A-Z]\w+)`", " ".join(re.findall(r"\(([^)]*)\)", terms))))
    code = "\n".join(path.read_text() for path in (ROOT / "squeeze").rglob("*.py"))
    assert len(named) >= 15
    assert named - set(re.findall(r"^class (\w+)", code, re.MULTILINE)) == set()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_place_for_a_generated_part_is_filled(generate: ModuleType) -> None:
    places = [
        name
        for page in PAGES
        for name in re.findall(r"^<!-- generated: (\w+) -->$", page.read_text(), re.MULTILINE)
    ]
    assert sorted(places) == sorted(generate.PAGES)


def test_the_reference_has_every_key_with_type_range_and_default(generate: ModuleType) -> None:
    text = generate.recipe()
    assert set(re.findall(r"^## (\w+)$", text, re.MULTILINE)) == {
        "Recipe",
        *Recipe.model_json_schema()["$defs"],
    }
    assert "`pruning_ratio`\n: number in [0, 1), left out by default" in text
    assert "`epochs`\n: integer in [1, ∞), **required**" in text
    assert "`lr`\n: number in (0, ∞), default: `0.005`" in text
    assert "`losses`\n: list of [LossBlock](#recipe-lossblock), default: `[{name: kd}]`" in text
    assert "`median_s`\n: number, **required**" in generate.results()


def test_the_reference_has_every_verb_flag_and_extension(generate: ModuleType) -> None:
    text = generate.cli()
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, verb in commands.items():
        _, _, section = text.partition(f"## squeeze {name}\n")
        for parameter in verb.params:
            assert all(flag in section for flag in parameter.opts), (name, parameter.opts)
    text = generate.extensions()
    for kind, group in plugins.KINDS.items():
        _, _, section = text.partition(f"## {kind}\n")
        assert all(f"`{name}`\n" in section for name in plugins.names(group)), kind
    assert "`temperature`: number in (0, ∞), default: `4.0`." in text


def test_the_reference_has_every_public_name(generate: ModuleType) -> None:
    import squeeze

    documented = set(re.findall(r"^## (\w+)$", generate.api(), re.MULTILINE))
    assert documented >= set(squeeze.__all__) - {"__version__"}
    assert "LoadedRecipe" in documented, "what a function returns is documented too"
