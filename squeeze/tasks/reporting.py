"""What a task's ``report.py`` gives to reports, and how its figures are written.

HTML, Markdown and the terminal render the same tables, sections and pictures; none of them knows
the task.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from squeeze.core.text import printable
from squeeze.results import AccuracyBlock, ChangeBlock, Estimate, PictureBlock, Row

Pair = tuple[Row, Row]
"""The baseline's row of a target, and the row of the last model that was measured there."""

Style = Literal["", "strong", "good", "bad"]


@dataclass(frozen=True)
class ReportTable:
    """A table below a section's title.

    Attributes:
        columns: Its heads.
        rows: As many cells each.
        title: What tells it from the section's other tables.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""


@dataclass(frozen=True)
class ReportSection:
    """Tables and a plot that only this task has.

    Attributes:
        note: How to read it, in a sentence or two.
        plot: An SVG, shown in HTML only.
    """

    title: str
    tables: tuple[ReportTable, ...] = ()
    note: str = ""
    plot: str = ""


@dataclass(frozen=True)
class CaptionedImage:
    """An image of the report.

    Attributes:
        name: Of its file.
        png: Base64.
        width: In pixels of the page.
        caption: Lines, each of pieces of text with their style.
    """

    name: str
    png: str
    width: int
    caption: tuple[tuple[tuple[str, Style], ...], ...]


@dataclass(frozen=True)
class Gallery:
    """Images that changed, under one title.

    Attributes:
        note: How to read them.
    """

    title: str
    images: tuple[CaptionedImage, ...]
    note: str = ""


class TaskReport(Protocol):
    """``report.py`` in a task's folder."""

    @property
    def COLUMNS(self) -> tuple[str, ...]:  # noqa: N802
        """The columns of accuracy in the main table."""
        ...

    @property
    def DETAILS(self) -> frozenset[str]:  # noqa: N802
        """Those of them that a terminal leaves out."""
        ...

    def cells(self, accuracy: AccuracyBlock, change: ChangeBlock | None) -> tuple[str, ...]:
        """Return a row's cells for ``COLUMNS``."""
        ...

    def headline(
        self, before: AccuracyBlock, after: AccuracyBlock, change: ChangeBlock
    ) -> tuple[tuple[str, str], ...]:
        """Return names and values of what was lost or gained from the baseline to a model."""
        ...

    def sections(self, pairs: Sequence[Pair]) -> list[ReportSection]:
        """Return what only this task shows, for example tables by class."""
        ...

    def galleries(self, pictures: Sequence[PictureBlock]) -> list[Gallery]:
        """Return the images on which the baseline and the final model differ."""
        ...


def plot_text(text: str) -> str:
    """Return a name that Matplotlib neither reads as a formula nor hides."""
    shown = printable(text, one_line=True).replace("$", "\\$")
    return f" {shown}" if shown.startswith("_") else shown  # a legend leaves those out


def points(estimate: Estimate) -> str:
    """Show a drop as a change in percentage points with its interval; minus is a loss."""
    change = -estimate
    value, low, high = (100 * each for each in (change.value, change.low, change.high))
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def percent(estimate: Estimate) -> str:
    """Show a share in percent with its interval."""
    return f"{estimate.value:.2%} [{estimate.low:.2%}, {estimate.high:.2%}]"


def main_cells(accuracy: AccuracyBlock) -> tuple[str, str, str]:
    """Show the main figure, its interval and the number of samples."""
    _, main = accuracy.headline
    interval = f"{main.low:.1%} to {main.high:.1%}"
    return f"{main.value:.2%}", interval, str(accuracy.samples)


def from_to(before: float, after: float, drop: Estimate) -> str:
    """Show a figure of the baseline and of a model, and the paired change between them."""
    return f"{100 * before:.2f} % → {100 * after:.2f} % ({points(drop)} points)"
