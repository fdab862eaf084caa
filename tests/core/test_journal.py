"""Progress without a terminal, and the log of a run."""

import re
import time
from pathlib import Path

import pytest

from squeeze.core.journal import Journal, Lines
from squeeze.core.types import Silent


def test_a_task_is_a_line_and_every_note_another() -> None:
    said: list[str] = []
    lines = Lines(said.append)
    with lines.task("training", 20) as advance:
        for _ in range(10):
            advance()
        advance(0, note="epoch 1 of 2: top-1 50%")
    lines.say("baseline: done")
    lines.warn("a file is damaged")
    assert said == [
        "training",
        "training: epoch 1 of 2: top-1 50%",
        "baseline: done",
        "warning: a file is damaged",
    ]


def test_a_long_task_tells_how_far_it_is_also_while_one_step_takes_long() -> None:
    said: list[str] = []
    with Lines(said.append, every_s=0.05).task("exporting", 2) as advance:
        advance()
        time.sleep(0.3)
    assert len(said) >= 4
    assert said[0] == "exporting"
    assert re.fullmatch(r"exporting: 1 of 2 after \d+ s", said[1])
    assert re.fullmatch(r"exporting: done in \d+ s", said[-1])


def test_short_tasks_of_one_name_are_one_line() -> None:
    said: list[str] = []
    lines = Lines(said.append)
    for _ in range(30):
        with lines.task("timing pruned models", 5):
            pass
    assert said == ["timing pruned models"]


class Shown(Silent):
    """Keeps what is shown."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_the_log_holds_all_with_times_also_what_came_before_it_was_opened(tmp_path: Path) -> None:
    shown, path = Shown(), tmp_path / "log.txt"
    journal = Journal(shown)
    journal.say("before")
    journal.open(path)
    with journal.task("training", 1) as advance:
        advance(note="epoch 1 of 1")
    with path.open("a") as library:
        library.write("from a library\n")
    journal.warn("\x1b[31ma file is damaged\x1b[0m")
    journal.warn("\x1b[31ma file is damaged\x1b[0m")
    journal.close()
    lines = path.read_text().splitlines()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  "
    assert [re.sub(stamp, "", line) for line in lines] == [
        "before",
        "training",
        "training: epoch 1 of 1",
        "from a library",
        *["warning: a file is damaged"] * 2,
    ]
    assert sum(re.match(stamp, line) is not None for line in lines) == 5
    assert shown.said[0] == "before"
    assert len(journal.warnings) == 1


def test_the_log_ends_with_the_error_its_causes_and_where(tmp_path: Path) -> None:
    journal = Journal(Silent())
    journal.open(tmp_path / "log.txt")

    def fail() -> None:
        try:
            raise KeyError("inner")  # noqa: TRY301
        except KeyError as error:
            raise ValueError("\x1b[96mouter\x1b[0m") from error

    with pytest.raises(ValueError, match="outer") as raised:
        fail()
    journal.failed(raised.value)
    journal.close()
    text = (tmp_path / "log.txt").read_text()
    assert "error: outer\n" in text
    assert "KeyError: 'inner'" in text
    assert "in fail" in text
    assert "\x1b" not in text


def test_being_stopped_is_no_error(tmp_path: Path) -> None:
    journal = Journal(Silent())
    journal.open(tmp_path / "log.txt")
    journal.failed(KeyboardInterrupt())
    journal.close()
    assert (tmp_path / "log.txt").read_text().endswith("  stopped\n")


def test_names_from_files_cannot_hide_in_the_log(tmp_path: Path) -> None:
    journal = Journal(Silent())
    journal.open(tmp_path / "log.txt")
    journal.warn("class 'cat\u202ejpg\x1b[2K'")
    journal.close()
    line = (tmp_path / "log.txt").read_text()
    assert line.endswith("warning: class 'cat\\u202ejpg'\n")


def test_libraries_leave_no_colours_in_the_log(tmp_path: Path) -> None:
    """They append to the file by themselves."""
    journal = Journal(Silent())
    journal.open(tmp_path / "log.txt")
    journal.say("quantizing")
    with (tmp_path / "log.txt").open("a") as library:
        library.write("\x1b[0;93m2026 [W:onnxruntime:] Removing initializer\x1b[m\n")
    journal.say("done")
    journal.close()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.partition("  ")[2] for line in (lines[0], lines[2])] == ["quantizing", "done"]
    assert lines[1] == "2026 [W:onnxruntime:] Removing initializer"
