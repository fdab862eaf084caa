"""report.html: self-contained, complete, the same every time."""

import re
from html import unescape

from squeeze.report import html, markdown, tables
from squeeze.results import Results


def text_of(page: str) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", page))


def test_the_page_needs_neither_network_nor_script(results: Results) -> None:
    page = html.render(results)
    assert not re.search(r"<script|<link|@import|javascript:|\son\w+=", page)
    for attribute in re.findall(r"""(?:src|href|action|url)\s*[=(]\s*["']?([^"'\s)>]+)""", page):
        assert attribute.startswith(("data:image/png;base64,", "#")), attribute
    assert "run &lt;b&gt;" in page
    assert "<b>:" not in page.partition("</title>")[0]


def test_the_page_holds_every_figure_of_the_table(results: Results) -> None:
    page = " ".join(text_of(html.render(results)).split())
    for line in tables.rows(results):
        for cell in line.cells:
            assert " ".join(cell.split()) in page
    for text in ("node_linear", "left in float", "reused from run 20251231-000000", "7.png"):
        assert text in page or f'"{text}"' in html.render(results)


def test_rendering_twice_gives_the_same_page(results: Results) -> None:
    assert html.render(results) == html.render(results)


def test_a_run_without_any_measured_row_still_renders(results: Results) -> None:
    skipped = tuple(r for r in results.rows if r.skipped)
    bare = results.model_copy(update={"rows": skipped, "gates": (), "pictures": (), "warnings": ()})
    assert "no gates" in html.render(bare)
    assert "not measured" in markdown.render(bare)


def test_only_the_verdict_of_a_gate_is_coloured(results: Results) -> None:
    page = html.render(results)
    row = page[page.index('<td class="fail">FAIL</td>') :]
    cells = row[: row.index("</tr>")]
    assert cells.count('class="fail"') == 1
    assert '<td class="">onnxruntime</td>' in cells
