"""Bundles are data: nothing that one names runs unless the user names it too."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import squeeze
from squeeze.core import permission
from squeeze.core.errors import InputError, RecipeError
from squeeze.models import blocks, bundle, factory
from squeeze.recipe import plan
from squeeze.recipe.load import from_data
from squeeze.recipe.schema import InputSpec, ModelBlock
from squeeze.store.checksums import SUMS, write_sums

SPEC = InputSpec(shape=(1, 8, 8))
EVIL = """\
from pathlib import Path
from torch import nn

Path({mark!r}).write_text("ran")

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What appears when a stranger's code has run."""
    return tmp_path / "ran"


@pytest.fixture
def stranger(tmp_path: Path, mark: Path) -> Path:
    """A bundle with the Python file that it names."""
    folder = tmp_path / "stranger"
    folder.mkdir()
    (folder / "evil.py").write_text(EVIL.format(mark=str(mark)))
    made = blocks.build(ModelBlock(build="./evil.py:make", input=SPEC), folder)
    bundle.save(made, folder / "bundle")
    (folder / "evil.py").rename(folder / "bundle" / "evil.py")
    naming(folder / "bundle", "./evil.py:make")
    mark.unlink()
    return folder / "bundle"


def naming(folder: Path, build: str, **args: Any) -> None:
    """Let a bundle name another factory."""
    record = json.loads((folder / "architecture.json").read_text())
    record |= {"build": build, "args": args}
    (folder / "architecture.json").write_text(json.dumps(record))
    (folder / SUMS).unlink(missing_ok=True)  # a stranger's sums fit, or are left out


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        squeeze.load_bundle(folder, **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_bundles_own_python_file_is_not_imported(stranger: Path, mark: Path) -> None:
    evil = f"{stranger}/evil.py"
    assert refusal(stranger) == (
        f"{stranger}: its record asks to run ./evil.py:make(), which is {evil}: code from "
        f"outside squeeze, so nothing was run\n  if you trust that code, allow it: --allow-code "
        f"{evil}:make, load_bundle(path, allow_code='{evil}:make'), or the same as 'build' beside "
        "'weights' in a recipe"
    )
    with pytest.raises(InputError, match="nothing was run"):
        blocks.build(ModelBlock(weights=str(stranger)), Path())
    assert not mark.exists()


@pytest.mark.parametrize("allow", [(), "os:system", ["os:system"]])
def test_the_standard_library_builds_no_model_whoever_names_it(
    stranger: Path, tmp_path: Path, allow: Any
) -> None:
    command = f"touch {tmp_path}/ran"
    naming(stranger, "os:system", command=command)
    assert f"asks to run os:system(command='{command}')" in refusal(stranger, allow_code=allow)
    with pytest.raises(InputError, match="is in Python's standard library"):
        factory.make("os:system", {"command": command}, tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_function_that_is_only_handed_on_is_still_the_standard_librarys(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("from os import system as make\n")
    with pytest.raises(InputError, match=r"standard library.*: it is posix\.system"):
        factory.make("./net.py:make", {"command": f"touch {tmp_path}/ran"}, tmp_path)
    assert not (tmp_path / "ran").exists()


def test_what_would_have_run_is_told_before_damage(stranger: Path) -> None:
    record = json.loads((stranger / "architecture.json").read_text())
    write_sums(stranger, [stranger / "architecture.json"])
    changed = record | {"build": "os:system", "args": {"command": "true"}}
    (stranger / "architecture.json").write_text(json.dumps(changed))
    told = refusal(stranger)
    assert "asks to run os:system(command='true')" in told
    assert "architecture.json is damaged or was changed" in told


def test_a_package_that_a_bundle_names_is_not_imported(
    stranger: Path, tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lying_about.py").write_text(EVIL.format(mark=str(mark)))
    naming(stranger, "lying_about:make")
    assert "--allow-code lying_about:make" in refusal(stranger)
    assert "lying_about" not in sys.modules
    assert not mark.exists()
    squeeze.load_bundle(stranger, allow_code="lying_about:make")
    assert mark.exists()
    assert "nothing was run" in refusal(stranger)  # allowed for that call only


def test_code_is_allowed_by_the_file_that_it_is_in(
    stranger: Path, tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = squeeze.load_bundle(stranger, allow_code="stranger/bundle/evil.py:make")
    assert loaded(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    squeeze.load_bundle(stranger, allow_code="./evil.py:make")  # is nowhere else
    mark.unlink()
    (tmp_path / "evil.py").write_text("def make():\n    return None\n")
    assert "nothing was run" in refusal(stranger, allow_code="./evil.py:make")  # means this one
    assert "nothing was run" in refusal(stranger, allow_code="stranger/bundle/evil.py:other")
    assert "allowed: package.module:function" in refusal(stranger, allow_code="make")


def found(data: dict[str, Any], folder: Path) -> list[str]:
    try:
        plan.check(from_data(data, folder))
    except RecipeError as error:
        return [str(problem).removeprefix("flags: ") for problem in error.problems]
    return []


@pytest.mark.usefixtures("stranger")
def test_a_recipe_allows_the_factory_that_it_names(
    tmp_path: Path, mark: Path, recipe_data: dict[str, Any]
) -> None:
    del recipe_data["baseline"]
    recipe_data["model"] = {"weights": "stranger/bundle"}
    assert [line.partition(", which")[0] for line in found(recipe_data, tmp_path)] == [
        "model.weights: stranger/bundle: its record asks to run ./evil.py:make()"
    ]
    recipe_data["model"]["build"] = "./evil.py:make"
    assert "model.build: no such file: ./evil.py" in found(recipe_data, tmp_path)
    (tmp_path / "evil.py").write_text("def make():\n    return None\n")
    other = "the bundle is built by ./evil.py:make: name the same factory, or leave 'build' out"
    assert found(recipe_data, tmp_path) == [f"model.build: found ./evil.py:make, and {other}"]
    with pytest.raises(InputError, match="name the same factory"):
        blocks.build(ModelBlock(**recipe_data["model"]), tmp_path)
    assert not mark.exists()
    recipe_data["model"]["build"] = "./stranger/bundle/evil.py:make"
    assert found(recipe_data, tmp_path) == []
    blocks.build(ModelBlock(**recipe_data["model"]), tmp_path)
    assert mark.exists()


def test_a_recipe_says_where_a_factory_has_moved_to(stranger: Path, tmp_path: Path) -> None:
    (stranger / "evil.py").rename(tmp_path / "mine.py")
    block = ModelBlock(build="./mine.py:make", weights="stranger/bundle")
    again = bundle.save(blocks.build(block, tmp_path), tmp_path / "again")
    assert json.loads((again / "architecture.json").read_text())["build"] == "../mine.py:make"


@pytest.mark.parametrize(
    ("build", "args"),
    [
        ("torchvision:io.read_file", {"path": "/etc/hostname"}),
        ("torchvision:datasets.FakeData", {}),
        ("torchvision:resnet18", {"weights": "DEFAULT"}),
        ("torchvision:ssd300_vgg16", {"weights_backbone": "DEFAULT"}),
        ("timm:hf-hub:someone/model", {}),
        ("timm:resnet18", {"pretrained": True}),
        ("timm:resnet18", {"model_name": "hf-hub:someone/model"}),
        ("timm:resnet18", {"checkpoint_path": "/etc/hostname"}),
        ("timm:resnet18", {"pretrained_cfg": {"file": "/etc/hostname"}}),
        ("builtin:squeeze.store:new_file", {}),
        ("builtin:os.system", {}),
        ("transformers:detr", {"auto_map": {"AutoModel": "someone/model--code.Model"}}),
        ("transformers:detr", {"attn_implementation": "someone/kernel"}),
        (
            "transformers:detr",
            {"backbone_config": {"model_type": "timm_backbone", "backbone": "hf-hub:some/model"}},
        ),
        (
            "transformers:detr",
            {"backbone_config": {"model_type": "resnet", "attn_implementation": "some/kernel"}},
        ),
    ],
)
def test_squeezes_own_sources_build_models_and_fetch_nothing(
    stranger: Path, build: str, args: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*asked: object) -> None:
        raise AssertionError(f"asked a server: {asked}")

    monkeypatch.setattr("socket.getaddrinfo", refused)
    naming(stranger, build, **args)
    text = refusal(stranger)
    assert "asked a server" not in text
    expected = ("unknown", "would read or download", "would be downloaded", "has no ", "would run")
    assert any(words in text for words in (*expected, "asks to run")), text


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("[]", "is damaged: found a list, allowed: a mapping"),
        ("", "is damaged: it is not JSON (EOF while parsing a value at line 1 column 0)"),
        ("[" * 5000, "is damaged: it is not JSON (recursion limit exceeded"),
        ({"build": ""}, "its record has build: '', allowed: torchvision:NAME"),
        ({"build": "resnet18"}, "its record has build: 'resnet18', allowed: torchvision:NAME"),
        ({"build": "./a\0b.py:make"}, "is not where it was when this bundle was saved"),
        ({"build": f"./{'a' * 5000}.py:make"}, "is not where it was when this bundle was saved"),
        ({"build": 3}, "is damaged: build: found 3, allowed: a valid string"),
        ({"build": None}, "is damaged: build: found nothing, allowed: a valid string"),
        ({"args": []}, "is damaged: args: found a list, allowed: a mapping"),
        ({"input": {"shape": [1, "x", 8]}}, "is damaged: input.shape.1: found 'x', allowed: a "),
        ({"adapters": "x"}, "is damaged: adapters: found 'x', allowed: a list"),
        ({"adapters": ["../x"]}, "unknown adapters '../x'"),
        ({"attributes": {"": 3}}, "is damaged: attributes.: found 3, allowed: a mapping"),
        ({"pruning": [{"importance": "l2"}]}, "is damaged: 'pruning.0.removed' is missing"),
        ({"hook": "x"}, "is damaged: unknown key 'hook'"),
    ],
)
def test_a_damaged_record_is_told_with_its_place(
    tmp_path: Path, record: str | dict[str, Any], expected: str
) -> None:
    block = ModelBlock(build="builtin:resnet8", args={"in_channels": 1}, input=SPEC)
    folder = bundle.save(blocks.build(block, tmp_path), tmp_path / "bundle")
    (folder / SUMS).unlink()
    text = record
    if isinstance(record, dict):
        plain = json.loads((folder / "architecture.json").read_text())
        text = json.dumps(plain | record)
    (folder / "architecture.json").write_text(str(text))
    assert expected in refusal(folder)


@pytest.mark.parametrize("build", ["./a\0b.py:make", f"./{'a' * 5000}.py:make"])
def test_a_recipe_refuses_a_bundle_whose_factory_no_file_can_hold(
    stranger: Path, tmp_path: Path, build: str
) -> None:
    naming(stranger, build)
    data = {"train": "builtin:digits", "validation": "builtin:digits"}
    model = {"weights": str(stranger)}
    targets = [{"runtime": "onnxruntime"}]
    recipe = {"version": 1, "name": "r", "model": model, "data": data, "targets": targets}
    with pytest.raises(RecipeError, match="its record asks to run"):
        plan.check(from_data(recipe, tmp_path))


def test_a_record_that_never_ends_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "architecture.json").symlink_to("/dev/zero")
    (tmp_path / "weights.safetensors").touch()
    assert "is a pipe or a device, not a file" in refusal(tmp_path)


def test_a_record_cannot_replace_what_a_layer_computes_with(tmp_path: Path) -> None:
    block = ModelBlock(build="builtin:resnet8", args={"in_channels": 1}, input=SPEC)
    folder = bundle.save(blocks.build(block, tmp_path), tmp_path / "bundle")
    (folder / SUMS).unlink()
    record = json.loads((folder / "architecture.json").read_text())
    history = {"pruning": [{"importance": "l2", "removed": {}}]}
    for name in ("forward", "_forward_hooks", "_parameters", "weight"):
        changed = record | history | {"attributes": {"conv1": {name: "x"}}}
        (folder / "architecture.json").write_text(json.dumps(changed))
        assert f"its record cannot set '{name}' of a Conv2d" in refusal(folder)


def test_permission_ends_with_its_block(tmp_path: Path) -> None:
    with permission.allowing(["package:make"], tmp_path):
        assert permission.refusal("package:make", {}, tmp_path) is None
        with permission.allowing(["other:make"], tmp_path):
            assert permission.refusal("package:make", {}, tmp_path) is None
    assert permission.refusal("package:make", {}, tmp_path) is not None
