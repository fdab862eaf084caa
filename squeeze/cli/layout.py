"""How wide the columns of a table are in a narrow terminal: figures and names are never cut."""

import textwrap
from collections.abc import Iterator, Sequence

from rich.cells import cell_len

GAP = 2
"""Cells between two columns."""
_SENTENCE = 24
"""Cells from which on a text with spaces wraps; figures with their intervals are shorter."""


def natural(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the width that each column takes without wrapping."""
    return [max(map(cell_len, column)) for column in _by_column(columns, rows)]


def fitted(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """Return the widths with which a table fits, or None where it does not.

    Columns of sentences become narrower, the widest first, down to their longest word.
    """
    widths = natural(columns, rows)
    smallest = [
        max(cell_len(word) for text in column for word in text.split() or [""])
        if wide > _SENTENCE
        else wide
        for column, wide in zip(_by_column(columns, rows), widths, strict=True)
    ]
    available = width - GAP * (len(widths) - 1)
    while sum(widths) > available:
        spare = [wide - small for wide, small in zip(widths, smallest, strict=True)]
        if not any(spare):
            return None
        place = max((n for n, left in enumerate(spare) if left), key=widths.__getitem__)
        widths[place] -= 1
    return widths


def blocks(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, title: str = ""
) -> Iterator[str]:
    """Yield the lines of a table that does not fit: each row as a block of its own."""
    if title:
        yield title
    widest = max(map(cell_len, columns))
    head = ""
    for row in rows:
        head = row[0] or head  # tables leave out a name that is the row's above
        yield head
        for name, cell in zip(columns[1:], row[1:], strict=True):
            if cell:
                start = f"  {name:{widest}}  " if name else "  "
                yield textwrap.fill(
                    cell,
                    width,
                    initial_indent=start,
                    subsequent_indent=" " * len(start),
                    break_long_words=False,
                    break_on_hyphens=False,
                )


def _by_column(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[name, *(row[place] for row in rows)] for place, name in enumerate(columns)]
