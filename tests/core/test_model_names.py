"""Names of models that are read from the libraries' files are those that the libraries know."""

import subprocess
import sys

import pytest
import timm
from torchvision import models

from squeeze.core import model_names


def test_names_are_those_of_the_libraries() -> None:
    assert model_names.registered("torchvision") == set(models.list_models())
    assert model_names.registered("timm") == set(timm.list_models())
    assert model_names.registered("no_such_library") == frozenset()


def test_no_library_is_imported_for_them() -> None:
    code = (
        "import sys; from squeeze.core import model_names as m; m.malformed('resnet18'); "
        "print([n for n in ('torch', 'torchvision', 'timm', 'numpy') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("mobilenet_v2", "'torchvision:mobilenet_v2'"),
        ("resnet8", "'builtin:resnet8'"),
        ("ResNet18", "'torchvision:resnet18' or 'timm:resnet18'"),
        ("mobilenetv3_small_050", "'timm:mobilenetv3_small_050'"),
        ("ssd300_vgg", "'torchvision:ssd300_vgg16'"),
    ],
)
def test_a_bare_name_is_looked_for_in_all_of_them(text: str, meant: str) -> None:
    assert f"; did you mean {meant}" in model_names.malformed(text)


def test_what_is_like_no_model_gets_no_guess() -> None:
    assert model_names.malformed("net.pth").endswith("./file.py:function")
