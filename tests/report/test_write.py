"""The record: it follows its schema and is read back as it was."""

import json
from pathlib import Path

import jsonschema
import pytest

from squeeze.core.errors import InputError
from squeeze.report import write
from squeeze.results import Results


def test_the_record_follows_the_published_schema(results: Results) -> None:
    schema = Results.model_json_schema(by_alias=True)
    jsonschema.validate(json.loads(results.model_dump_json()), schema)
    wrong = json.loads(results.model_dump_json()) | {"version": 1}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)


def test_a_folder_is_read_back(results: Results, tmp_path: Path) -> None:
    write.everything(results, tmp_path)
    assert write.read(tmp_path) == results
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "environment.json",
        "report.html",
        "report.md",
        "results.json",
    ]


def test_what_is_no_run_is_refused(results: Results, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"holds no results\.json"):
            write.read(folder)
    record = tmp_path / "results.json"
    record.write_text(results.model_dump_json().replace('"version":2', '"version":1', 1))
    with pytest.raises(InputError, match=r"results\.json cannot be read: version: "):
        write.read(tmp_path)
    record.write_text("{")
    with pytest.raises(InputError, match=r"results\.json cannot be read: "):
        write.read(tmp_path)
    with pytest.raises(InputError, match=r"holds no results\.json"):
        write.read(record)


def test_a_record_of_a_task_that_is_not_installed_is_refused(
    results: Results, tmp_path: Path
) -> None:
    theirs = results.model_copy(update={"recipe": {"task": "ocr"}})
    (tmp_path / "results.json").write_text(theirs.model_dump_json())
    with pytest.raises(InputError) as raised:
        write.read(tmp_path)
    assert str(raised.value) == (
        f"{tmp_path / 'results.json'}: unknown task 'ocr', allowed: classification, detection\n"
        "  install the package that adds this task"
    )
