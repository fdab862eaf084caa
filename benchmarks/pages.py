"""Which pages of ``benchmarks/results`` still hold: what has changed since each was measured.

Every page names the commit it was measured at. This script compares the code that a page measures
at that commit with the working tree's.

    python benchmarks/pages.py

It prints a line per page and exits with 1 if one is out of date.
"""

import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
QUANTIZE = ("squeeze/quantization", "squeeze/exporting", "squeeze/runtimes")
PRUNE = (
    "squeeze/pruning",
    "squeeze/training",
    "squeeze/models/adapters",
    "squeeze/models/written_sizes",
)
DETECT = ("squeeze/tasks", "squeeze/models/detectors")
PAGES = {
    "calibrators": QUANTIZE,
    "detection_int8_heads": (*QUANTIZE, *DETECT),
    "detector_support": (*QUANTIZE, *PRUNE, *DETECT),
    "distillation": ("squeeze/distillation", "squeeze/training"),
    "interval_coverage": ("squeeze/tasks/detection/bootstrap.py",),
    "pruning_criteria": PRUNE,
    "pruning_latency": (*PRUNE, "squeeze/measure/latency.py"),
    "pruning_models": PRUNE,
    "pruning_support": PRUNE,
    "ptq_overhead": (*QUANTIZE, "squeeze/pipeline", "squeeze/measure"),
    "ptq_peers": QUANTIZE,
    "quantization_support": QUANTIZE,
    "quantization_whole": QUANTIZE,
    "training_throughput": ("squeeze/training", "squeeze/data/preprocessing.py"),
    "two_stage_support": (*QUANTIZE, *PRUNE, *DETECT),
}
"""By page, the code whose changes can change its figures."""
FORMER = {
    "squeeze/exporting": "squeeze/export",
    "squeeze/pruning": "squeeze/methods/prune",
    "squeeze/quantization": "squeeze/methods/quantize",
    "squeeze/distillation": "squeeze/methods/distill",
    "squeeze/training": "squeeze/methods/training",
    "squeeze/models": "squeeze/sources",
    "squeeze/pipeline": "squeeze/pipeline.py",
    "squeeze/data/preprocessing.py": "squeeze/sources/preprocess.py",
}
"""Where code lay before it was moved; git compares paths."""
UNCHANGED = "Figures: unchanged"
"""Trailer of a commit that moves or renames: it touches code and no figure."""
_UNCHANGED_BEFORE = re.compile(r"^Figures of ([0-9a-f]{7,40}): unchanged$", re.MULTILINE)
"""Trailer of a commit that says so of an earlier one, by its hash."""

_STAMP = re.compile(
    r"^Measured at commit `([0-9a-f]{7,40})`( with uncommitted changes)?", re.MULTILINE
)


def git(*arguments: str) -> str:
    """Return what git prints.

    Raises:
        SystemExit: This is no checkout, or git fails.
    """
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def made(libraries: "Sequence[str]", before: str = "", *, complete: bool = True) -> str:
    """Return the line that says what a page was made with.

    Args:
        libraries: Packages whose versions decide its figures.
        before: The page as it was.
        complete: Whether all figures are new. Otherwise the line of ``before`` stays: a page with
            rows of two commits holds for the older one only.
    """
    old = _STAMP.search(before)
    if old is not None and not complete:
        return before[old.start() :].partition("\n")[0].removesuffix(":")
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    date = datetime.now(UTC).date()
    return f"{stamp()}, {date}, Python {platform.python_version()}, {versions}"


def stamp() -> str:
    """Return the line that a page carries: the commit that its figures are of."""
    changed = " with uncommitted changes" if git("status", "--porcelain", "squeeze") else ""
    return f"Measured at commit `{git('rev-parse', '--short', 'HEAD')}`{changed}"


def measured_at(page: Path) -> str | None:
    """Return the commit that a page names, or None."""
    found = _STAMP.search(page.read_text(encoding="utf-8"))
    return found.group(1) if found else None


def log_since(commit: str, sources: "Sequence[str]") -> list[str]:
    """Return the commits after one that may have changed what sources do, newest first."""
    former = [source.replace(new, old, 1) for source in sources for new, old in FORMER.items()]
    paths = [*sources, *(path for path in former if path not in sources)]
    changed = ("--invert-grep", f"--grep=^{UNCHANGED}$")
    log = git("log", "--format=%h %s", *changed, f"{commit}..HEAD", "--", *paths)
    known = _UNCHANGED_BEFORE.findall(git("log", "--format=%B", f"{commit}..HEAD"))
    return [line for line in log.splitlines() if not line.startswith(tuple(known))]


def main() -> None:
    """Print a line per page."""
    stale = 0
    for name, sources in sorted(PAGES.items()):
        commit = measured_at(RESULTS / f"{name}.md")
        since = log_since(commit, sources) if commit else ["the page names no commit"]
        stale += bool(since)
        what = f"{len(since)} later changes, last: {since[0]}" if since else "holds"
        print(f"{name:22} {commit or '-':10} {what}")
    sys.exit(int(stale > 0))


if __name__ == "__main__":
    main()
