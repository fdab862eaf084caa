"""What the documents show is true: the README's recipe, its commands, the example, the recipes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from squeeze.recipe.load import from_data

ROOT = Path(__file__).parents[1]


def test_the_readmes_recipe_and_its_prune_step_are_valid() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (text,) = [block for block in blocks if block.startswith("version: 1")]
    recipe = from_data(yaml.safe_load(text), ROOT).recipe
    assert [step.method for step in recipe.steps] == ["prune", "distill", "quantize"]
    (step,) = [block for block in blocks if block.startswith("- method: prune")]
    with_it = yaml.safe_load(text) | {"steps": yaml.safe_load(step)}
    assert from_data(with_it, ROOT).recipe.steps[0].speedup.at_least == 1.7  # type: ignore[union-attr]


def test_the_verbs_and_flags_that_the_readme_names_exist() -> None:
    text = (ROOT / "README.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"^(?:- run: )?squeeze ([a-z]+)(.*)$", text, re.MULTILINE)
    assert len(commands) >= 7
    for verb, rest in commands:
        shown = subprocess.run(
            [sys.executable, "-m", "squeeze", verb, "--help"],
            text=True,
            capture_output=True,
            check=True,
        ).stdout
        for flag in re.findall(r"--[a-z-]+", rest.partition("#")[0]):
            assert flag in shown, (verb, flag)


def test_links_lead_somewhere() -> None:
    for document in (*ROOT.glob("*.md"), *ROOT.glob("examples/*/*.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), (document.name, target)


@pytest.mark.slow
def test_the_example_runs(tmp_path: Path) -> None:
    recipe = ROOT / "examples" / "bring_your_own" / "recipe.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "squeeze", "run", str(recipe), "--output", str(tmp_path)],
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("bring_your_own/*/report.html"))
