"""Reading what users hand in."""

from pathlib import Path

import pytest

from squeeze.core import reading
from squeeze.core.errors import InputError


def refusal(file: Path, limit: int = reading.TEXT_BYTES) -> str:
    with pytest.raises(InputError) as caught:
        reading.lines(file, limit)
    return str(caught.value)


def test_lines_keep_their_numbers_and_lose_byte_order_marks(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeffone \r\n\r\n two words\nthree\u2028four".encode())
    assert reading.lines(file) == [(1, "one"), (3, "two words"), (4, "three\u2028four")]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a\nb\n\xe9\n", "a.txt:3: is not UTF-8 text (byte 4: invalid continuation byte)"),
        ("a".encode("utf-16"), "a.txt: is UTF-16 text, expected UTF-8"),
        (b"12345", "a.txt: is larger than 0 KiB, the most that is read"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(
    content: bytes, text: str, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert refusal(tmp_path / "a.txt", 4 if b"5" in content else 99).startswith(
        f"{tmp_path}/{text}"
    )


def test_paths_that_no_file_can_have(tmp_path: Path) -> None:
    for name in ("x" * 300, "x/" * 3000, "a\0b"):
        path = tmp_path / name
        for there in (reading.exists, reading.is_file, reading.is_folder):
            assert not there(path)
        assert "cannot be read: " in refusal(path)
        assert len(refusal(path)) < 600
    assert refusal(tmp_path).endswith("cannot be read: Is a directory")
    assert refusal(tmp_path / "none").endswith("none: no such file")


def test_json_with_numbers_and_depths_of_nobody(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(f"[1, -3, {2**63}, {'9' * 400}, {'9' * 100_000}, 2.5]")
    assert reading.json_value(file) == [1, -3, 2**63, float("inf"), float("inf"), 2.5]
    for content, text in (
        ("[" * 100_000, "is nested too deeply"),
        ('{"a": 1,\n "b" 2}', "a.json:2:6: is broken JSON: Expecting ':' delimiter"),
    ):
        file.write_text(content)
        with pytest.raises(InputError) as caught:
            reading.json_value(file)
        assert text in str(caught.value)
