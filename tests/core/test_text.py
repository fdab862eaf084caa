"""Names from files are shown, and do nothing else."""

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from squeeze.core.text import printable

UNSEEN = {"Cc", "Cs", "Zl", "Zp"}
TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def test_escape_sequences_and_directions_are_spelt_out() -> None:
    assert printable("a\x1b[31mb\x07\r\x9b2J") == "a\\u001b[31mb\\u0007\\u000d\\u009b2J"
    assert printable("cat\u202egpj.exe") == "cat\\u202egpj.exe"
    assert printable("\udcff.png") == "\\udcff.png"
    assert printable("\U000e0041") == "\\udb40\\udc41"


def test_what_is_to_be_seen_stays() -> None:
    for text in (
        "Größe",
        "猫",
        "\u0645\u06cc\u200c\u062e",
        "👩\u200d🔬",
        "[red]",
        "a\tb\nc",
        "µ",
    ):
        assert printable(text) == text
    assert printable("a\n \tb\x1b", one_line=True) == "a b\\u001b"


@given(st.text(st.characters(max_codepoint=0x2FFF) | st.characters(categories=["Cc", "Cs"])))
def test_nothing_that_moves_or_turns_text_is_left(text: str) -> None:
    left = printable(text)
    assert not {unicodedata.category(char) for char in left if char not in "\n\t"} & UNSEEN
    assert not {unicodedata.bidirectional(char) for char in left} & TURNING
    left.encode()


@given(st.text())
def test_json_stays_the_same(text: str) -> None:
    assert json.loads(printable(json.dumps({"name": text}, ensure_ascii=False))) == {"name": text}
