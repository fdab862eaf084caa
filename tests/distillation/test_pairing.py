"""Which layers are compared: by pattern, or the last map of every spatial stage."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from squeeze.core.errors import InputError
from squeeze.distillation.pairing import LayerPair, choose, layer_outputs, named, suggest
from squeeze.distillation.taps import tap
from squeeze.distillation.traits import Traits
from squeeze.models.cifar_resnet import resnet8, resnet20
from squeeze.recipe.schema import LayerPatterns

EXAMPLE = torch.zeros(2, 3, 32, 32)
BIG, SMALL = layer_outputs(resnet20(), EXAMPLE), layer_outputs(resnet8(), EXAMPLE)


def pairs(pairs: list[LayerPair]) -> list[tuple[str, str]]:
    return [(pair.teacher, pair.student) for pair in pairs]


def tied(teacher: str, student: str, *, vectors: bool = False) -> list[LayerPair]:
    layer = LayerPatterns(teacher=teacher, student=student)
    return named([layer], BIG, SMALL, where="losses.0", vectors=vectors)


def test_a_survey_sees_shapes_in_order_and_the_classifier() -> None:
    assert BIG.shapes["stages.1"] == (2, 32, 16, 16)
    order = list(BIG.shapes)
    assert order.index("stages.0") < order.index("stages.1") < order.index("fc")
    assert (BIG.classifier, BIG.classes) == ("fc", 10)


def test_stages_are_tied_by_their_size() -> None:
    expected = [("stages.0", "stages.0"), ("stages.1", "stages.1"), ("stages", "stages")]
    assert pairs(suggest(BIG, SMALL)) == expected


def test_stages_of_real_architectures() -> None:
    teacher = layer_outputs(models.resnet18(weights=None), torch.zeros(1, 3, 64, 64))
    student = layer_outputs(models.mobilenet_v2(weights=None), torch.zeros(1, 3, 64, 64))
    assert pairs(suggest(teacher, student)) == [
        ("relu", "features.1"),
        ("layer1", "features.3"),
        ("layer2", "features.6"),
        ("layer3", "features.13"),
        ("layer4", "features"),
    ]
    assert student.classifier == "classifier.1"


def test_without_a_size_in_common_the_deepest_go_together() -> None:
    odd = layer_outputs(resnet8(), torch.zeros(2, 3, 27, 27))
    assert len(suggest(BIG, odd)) == 3
    shallow = nn.Sequential(nn.Conv2d(3, 4, 3, 5), nn.Flatten(), nn.LazyLinear(10))
    assert pairs(suggest(BIG, layer_outputs(shallow, EXAMPLE))) == [("stages", "0")]


def test_patterns_tie_in_forward_order() -> None:
    assert pairs(tied("stages.?.2", "stages.?.0")) == [
        (f"stages.{n}.2", f"stages.{n}.0") for n in range(3)
    ]
    assert pairs(tied("fc", "fc", vectors=True)) == [("fc", "fc")]


def test_a_pattern_that_matches_nothing_names_the_nearest() -> None:
    message = r"losses.0.layers.0.teacher: 'stage.1' matches no layer; did you mean 'stages.1'"
    with pytest.raises(InputError, match=message):
        tied("stage.1", "stages.1")


def test_both_sides_must_match_equally_many() -> None:
    with pytest.raises(InputError, match=r"matches 3 layers of the teacher.*1 of the student"):
        tied("stages.?.2", "stages.1")


def test_a_feature_loss_needs_a_feature_map() -> None:
    with pytest.raises(
        InputError, match=r"matches fc, which returns \(2, 10\), expected a feature"
    ):
        tied("fc", "stages.1")


def test_each_loss_takes_the_ties_it_wants() -> None:
    def chosen(**traits: Any) -> list[str]:
        return list(map(str, choose(None, Traits(**traits), BIG, SMALL, where="losses.0")))

    assert chosen(needs="logits") == []
    assert chosen(needs="vectors") == []  # the classifiers' inputs
    assert chosen(needs="maps") == ["stages.0", "stages.1", "stages"]
    assert chosen(needs="maps", levels="middle") == ["stages.1"]
    assert chosen(needs="maps", levels="last") == ["stages"]
    with pytest.raises(InputError, match="needs 4 layer pairs, found 3"):
        chosen(needs="maps", min_layers=4)


def test_a_loss_of_one_layer_takes_no_more() -> None:
    layers = [LayerPatterns(teacher="stages.?", student="stages.?")]
    with pytest.raises(InputError, match=r"losses.0: takes at most 1 layer pair, found 3"):
        choose(layers, Traits(needs="vectors", max_layers=1), BIG, SMALL, where="losses.0")


def test_models_without_feature_maps_are_reported() -> None:
    flat = layer_outputs(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), EXAMPLE)
    with pytest.raises(InputError, match="needs 1 layer pair, found 0"):
        choose(None, Traits(needs="maps"), flat, SMALL, where="losses.0")


class Inplace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.relu = nn.BatchNorm2d(3), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.norm(x))  # type: ignore[no-any-return]


def test_a_tap_reads_what_was_there_before_an_inplace_activation() -> None:
    module, x = Inplace(), torch.randn(4, 3, 5, 5)
    with tap(module, ["norm", "relu"]) as kept:
        module(x)
        assert kept.outputs["norm"].min().item() < 0
        assert kept.outputs["relu"].min().item() == 0
        kept.outputs["norm"].sum().backward()
    module(x)
    assert module.norm._forward_hooks == {}


def test_nested_taps_do_not_see_each_other() -> None:
    module, x = Inplace(), torch.randn(4, 3, 5, 5)
    with tap(module, ["norm"]) as outer:
        with tap(module, ["norm"], ["relu"]) as inner:
            module(x)
            inner.clear()
            assert set(outer.outputs) == {"norm"}
        module(2 * x)
        assert inner.outputs == {}
        with pytest.raises(KeyError), tap(module, ["norm", "nowhere"]):
            pass
        assert len(module.norm._forward_hooks) == 1
    assert len(module.norm._forward_hooks) == 0
