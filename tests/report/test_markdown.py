"""report.md: whole tables, and names from files that do nothing."""

import re

from markdown_it import MarkdownIt

from squeeze.report import html, markdown, tables
from squeeze.results import Results


def test_every_markdown_row_has_its_cells(results: Results) -> None:
    lines = markdown.render(results).splitlines()
    assert lines[0] == "# run &lt;b>: 1 of 1 gates failed"
    widths = [len(re.findall(r"(?<!\\)\|", line)) - 1 for line in lines if line.startswith("|")]
    assert widths == [len(tables.GATE_COLUMNS)] * 3 + [len(tables.columns(results))] * 6 + [6] * 3
    kernels = [node for row in results.rows if row.coverage for node in row.coverage.survivors]
    expected = [f"| float | {node.name} | {node.op} | {node.reason} |" for node in kernels]
    assert expected
    assert all(any(line.endswith(each) for line in lines) for each in expected)


HOSTILE = "a|b `c` <img src=x> [d](http://e.f) [g]: x \x1b[31m\u202eh\n# i"


def test_names_from_files_do_nothing_in_reports(results: Results) -> None:
    state = results.models[1].model_copy(update={"name": HOSTILE, "notes": (HOSTILE,)})
    changed = results.model_copy(
        update={
            "name": HOSTILE,
            "models": (results.models[0], state),
            "rows": (results.rows[0], results.rows[1].model_copy(update={"model": HOSTILE})),
            "warnings": (HOSTILE,),
        }
    )
    page = MarkdownIt("commonmark").enable("table").render(markdown.render(changed))
    shown = "a|b `c` &lt;img src=x&gt; [d](http://e.f) [g]: x \\u001b[31m\\u202eh # i"
    for line in (f"<h1>{shown}: ", f"<li>{shown}", f"<td>{shown}</td>"):
        assert line in page, line
    assert page.count(shown) >= 4
    assert not re.search(r"<a|<img|<code>c|\x1b|\u202e", page)
    page = html.render(changed)
    assert "a|b `c` &lt;img src=x&gt; [d](http://e.f) [g]: x \\u001b[31m\\u202eh" in page
    assert not re.search(r"<img src=x|\x1b|\u202e", page)
