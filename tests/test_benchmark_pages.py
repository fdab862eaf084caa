"""Pages of figures say what they hold for, and a page with rows of two commits names the older."""

from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]


def test_every_page_names_its_commit_and_what_it_measures(pages: ModuleType) -> None:
    names = {page.stem for page in (ROOT / "benchmarks" / "results").glob("*.md")}
    assert names == set(pages.PAGES)
    for name, sources in pages.PAGES.items():
        assert pages.measured_at(pages.RESULTS / f"{name}.md"), name
        assert all((ROOT / source).exists() for source in sources), name


def test_every_page_names_a_command_that_exists() -> None:
    for page in (ROOT / "benchmarks" / "results").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        scripts = [word.strip("`',") for word in text.split() if word.strip("`',").endswith(".py")]
        assert scripts, page.name
        assert all((ROOT / script).is_file() for script in scripts if "/" in script), page.name


def test_a_page_with_rows_of_two_commits_holds_for_the_older(pages: ModuleType) -> None:
    before = "# Title\n\nMeasured at commit `0123abc`, 2026-11-21, Python 3.11.7, torch 2.14.1:\n"
    kept = "Measured at commit `0123abc`, 2026-11-21, Python 3.11.7, torch 2.14.1"
    assert pages.made(("torch",), before, complete=False) == kept
    new = pages.made(("torch",), before, complete=True)
    assert f"`{pages.git('rev-parse', '--short', 'HEAD')}`" in new


def test_what_changed_since_a_page_was_measured_is_listed(pages: ModuleType) -> None:
    """Commits that only move code are left out, those from before the move are not."""
    first = pages.git("rev-list", "--max-parents=0", "HEAD")
    paths = ("squeeze/pruning", "squeeze/methods/prune")
    later = pages.git("log", "--format=%h %s", f"{first}..HEAD", "--", *paths).splitlines()
    moves = ("--grep=^Figures: unchanged$", "--format=%h %s")
    moved = pages.git("log", *moves, f"{first}..HEAD", "--", *paths).splitlines()
    bodies = pages.git("log", "--format=%B", f"{first}..HEAD").splitlines()
    said = [line.split()[2].rstrip(":") for line in bodies if line.startswith("Figures of ")]
    found = pages.log_since(first, ("squeeze/pruning",))
    left = [line for line in later if line not in moved]
    assert found == [line for line in left if not line.startswith(tuple(said))]
    assert found
