"""Model factories and weights, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from squeeze.core.errors import InputError
from squeeze.models.blocks import build
from squeeze.recipe.schema import InputSpec, ModelBlock

SPEC = InputSpec(shape=(1, 12, 12))


def block(name: str, weights: str | None = None, **args: Any) -> ModelBlock:
    return ModelBlock(build=name, args=args, weights=weights, input=SPEC)


def refusal(wanted: ModelBlock, folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        build(wanted, folder)
    return str(caught.value)


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def make(width=4):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(144, width))\n"
        "def number():\n"
        "    return 5\n"
        "def broken():\n"
        "    raise ValueError('no')\n"
    )
    return tmp_path


def test_every_kind_of_factory(user_file: Path) -> None:
    kinds = {
        "builtin:resnet8": {"in_channels": 1},
        "torchvision:mobilenet_v3_small": {"num_classes": 3},
        "timm:mobilenetv3_small_050": {"num_classes": 3},
        "timm:mobilenetv3_small_050.lamb_in1k": {"num_classes": 3},
        "torchvision.models:resnet18": {"num_classes": 3},
        "./net.py:make": {"width": 7},
    }
    for name, args in kinds.items():
        model = build(block(name, **args), user_file)
        assert isinstance(model.module, nn.Module)
        assert not model.module.training


def test_all_three_weight_files_load_equal(tmp_path: Path) -> None:
    model = build(block("builtin:resnet8", in_channels=1), tmp_path)
    state = model.module.state_dict()
    save_file(state, tmp_path / "w.safetensors")
    torch.save(state, tmp_path / "w.pth")
    torch.save(
        {"state_dict": {f"module.{key}": value for key, value in state.items()}},
        tmp_path / "checkpoint.pt",
    )
    for name in ("w.safetensors", "w.pth", "checkpoint.pt"):
        loaded = build(block("builtin:resnet8", name, in_channels=1), tmp_path)
        for key, value in loaded.module.state_dict().items():
            assert torch.equal(value, state[key])


def test_unknown_names_offer_the_nearest(user_file: Path) -> None:
    for name, near in (
        ("torchvision:mobilnet_v2", "mobilenet_v2"),
        ("timm:mobilenetv3_smal_050", "mobilenetv3_small_050"),
        ("timm:mobilenetv3_small_050.lamb_in1", "lamb_in1k"),
        ("builtin:resnet21", "resnet20"),
        ("./net.py:mak", "make"),
    ):
        assert f"did you mean '{near}'?" in refusal(block(name), user_file)


def test_factories_that_do_not_give_a_module(user_file: Path) -> None:
    assert refusal(block("./net.py:number"), user_file).startswith(
        "./net.py:number: returned int, expected a torch.nn.Module"
    )
    assert "building the model failed: ValueError: no" in refusal(
        block("./net.py:broken"), user_file
    )
    assert "building the model failed: TypeError" in refusal(
        block("builtin:resnet8", colour="red"), user_file
    )
    assert "cannot import 'no_such_package'" in refusal(block("no_such_package:make"), user_file)


def test_what_fails_in_a_users_code_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "def needs():\n"
        "    import no_such_cv2\n"
        "def chained():\n"
        "    return broken(3)\n"
        "def broken(width):\n"
        "    raise KeyError('stem')\n"
        "def leaves():\n"
        "    raise SystemExit(0)\n"
        "def part():\n"
        "    from torch import no_such_part\n"
        "def sibling():\n"
        "    import blocks\n"
        "def narrow(width):\n"
        "    return width\n"
    )
    (tmp_path / "top.py").write_text("\nimport no_such_cv2.dnn\n")
    (tmp_path / "typo.py").write_text("def make(:\n")
    (tmp_path / "blocks.py").write_text("")
    net = tmp_path / "net.py"
    failed, missing = (
        "building the model failed",
        "the Python package 'no_such_cv2' is not installed",
    )
    pip = "pip install the distribution that brings 'no_such_cv2'"
    said = {
        "./net.py:needs": f"{failed}: {missing} ({net}:2)\n  {pip}",
        "./net.py:chained": f"{failed}: KeyError: 'stem' ({net}:6)",
        "./net.py:leaves": f"{failed}: SystemExit: 0 ({net}:8)",
        "./net.py:part": f"{failed}: ImportError: cannot import name 'no_such_part' from 'torch'",
        "./net.py:sibling": "blocks.py lies beside that file: put its folder into PYTHONPATH",
        "./net.py:narrow": "missing 1 required positional argument: 'width'\n  check the arguments",
        "./top.py:make": f"cannot be imported: {missing} ({tmp_path}/top.py:2)",
        "./typo.py:make": "cannot be imported: SyntaxError: invalid syntax (typo.py, line 1)",
    }
    for name, text in said.items():
        assert text in refusal(block(name), tmp_path), name


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    model = build(block("builtin:resnet8"), tmp_path)
    torch.save(model.module, tmp_path / "whole.pth")
    text = refusal(block("builtin:resnet8", "whole.pth"), tmp_path)
    assert "is a pickle that holds more than tensors" in text
    assert "convert it once" in text


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"nonsense")
    (tmp_path / "w.pth").write_bytes(b"")
    torch.save({"epoch": 3}, tmp_path / "e.pth")
    assert "is not a safetensors file" in refusal(
        block("builtin:resnet8", "w.safetensors"), tmp_path
    )
    assert "is not a torch file" in refusal(block("builtin:resnet8", "w.pth"), tmp_path)
    assert "holds no state dict" in refusal(block("builtin:resnet8", "e.pth"), tmp_path)
    assert "no such file" in refusal(block("builtin:resnet8", "none.pth"), tmp_path)


def test_weights_of_another_number_of_classes_come_with_a_hint(tmp_path: Path) -> None:
    other = build(block("builtin:resnet8", num_classes=5), tmp_path)
    save_file(other.module.state_dict(), tmp_path / "w.safetensors")
    text = refusal(block("builtin:resnet8", "w.safetensors", num_classes=10), tmp_path)
    assert text.endswith(
        "does not fit the model: 2 shapes differ: fc.weight: file (5, 64), model (10, 64), "
        "fc.bias: file (5,), model (10,)\n  the weights are for 5 classes and the model has 10: "
        "set model.args.num_classes: 5"
    )


def test_missing_and_surplus_keys_are_listed(tmp_path: Path) -> None:
    state = build(block("builtin:resnet8"), tmp_path).module.state_dict()
    del state["fc.bias"]
    state["head.bias"] = torch.zeros(10)
    save_file(state, tmp_path / "w.safetensors")
    text = refusal(block("builtin:resnet8", "w.safetensors"), tmp_path)
    assert "1 keys missing in the file: fc.bias" in text
    assert "1 keys the model does not have: head.bias" in text


def test_nan_weights_are_refused(tmp_path: Path) -> None:
    state = build(block("builtin:resnet8"), tmp_path).module.state_dict()
    state["fc.weight"][0, 0] = float("nan")
    save_file(state, tmp_path / "w.safetensors")
    text = refusal(block("builtin:resnet8", "w.safetensors"), tmp_path)
    assert "1 tensors hold NaN or infinity: fc.weight" in text


def test_a_file_inside_a_package() -> None:
    text = refusal(block("builtin:resnet8", "package:no_such_package/w.pth"), Path())
    assert "the Python package 'no_such_package' is not installed" in text
    text = refusal(block("builtin:resnet8", "package:torch/no.pth"), Path())
    assert "the package 'torch' has no file 'no.pth'" in text
