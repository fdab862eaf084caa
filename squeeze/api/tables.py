"""Results as tables: HTML for notebooks, and pandas where it is installed."""

from html import escape
from typing import TYPE_CHECKING

from squeeze.core.errors import SqueezeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pandas import DataFrame

    Rows = Sequence[Mapping[str, object]]

_SIGNIFICANT = 4


def html(title: str, rows: "Rows", notes: "Sequence[str]" = ()) -> str:
    """Return a table of rows with the same keys, under a title and above notes."""
    head = "".join(f"<th>{escape(name)}</th>" for name in (rows[0] if rows else ()))
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(_cell(value))}</td>' for value in row.values())}</tr>"
        for row in rows
    )
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if rows else ""
    return f"<div><b>{escape(title)}</b>{table}{f'<ul>{listed}</ul>' if listed else ''}</div>"


def dataframe(rows: "Rows") -> "DataFrame":
    """Return rows as a ``pandas.DataFrame``.

    Raises:
        SqueezeError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise SqueezeError(
            "needs pandas, which is not installed",
            where="to_dataframe",
            hint="pip install pandas; to_dict() gives the same values without it",
        ) from error
    return pd.DataFrame([dict(row) for row in rows])


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{_SIGNIFICANT}g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
