"""Look into modules and files."""

from typing import Any

import pytest
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import squeeze
from squeeze import InputError
from squeeze.api.inspect import FileSummary, ModelSummary


def test_a_models_layers_add_up(known: Any) -> None:
    found = squeeze.inspect(known.model, known.example)
    assert isinstance(found, ModelSummary)
    with FlopCounterMode(display=False) as counter:
        known.model(known.example)
    assert found.macs == counter.get_total_flops() // 2
    assert sum(layer.macs for layer in found.layers) == found.macs
    assert sum(layer.params for layer in found.layers) == found.params
    assert found.params == sum(one.numel() for one in known.model.parameters())
    assert (found.groups, found.prunable_groups) == (7, 6)
    by_name = {layer.layer: layer for layer in found.layers}
    first = by_name["conv1"]
    assert (first.kind, first.macs, first.channels) == ("Conv2d", 12 * 12 * 9 * 16, 16)
    assert (first.prunable, first.int8) == ("yes", True)
    assert by_name["fc"].prunable == "makes the model's output"
    assert not by_name["bn1"].int8
    assert found.int8_macs == 1
    assert found.to_dict()["layers"][0]["layer"] == "conv1"
    assert "6 of 7 groups can be pruned" in found._repr_html_()


def test_products_outside_of_layers_are_counted_where_they_are() -> None:
    class Squared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 8, 3)

        def forward(self, images: Any) -> Any:
            found = self.conv(images).flatten(2)  # (N, 8, 100)
            return (found @ found.transpose(1, 2)).flatten(1)

    found = squeeze.inspect(Squared().eval(), (1, 12, 12))
    macs = {layer.layer: layer.macs for layer in found.layers}
    assert macs == {"": 8 * 8 * 100, "conv": 100 * 9 * 8}


def test_keep_spares_layers(known: Any) -> None:
    found = squeeze.inspect(known.model, known.example, keep=["conv1"])
    assert found.prunable_groups < 6
    with pytest.raises(InputError, match="conv9"):
        squeeze.inspect(known.model, known.example, keep=["conv9"])


def test_a_file_is_audited(known: Any) -> None:
    done = squeeze.export(known.model, known.example)
    found = squeeze.inspect(done)
    assert isinstance(found, FileSummary)
    assert found.audit.coverage.int8 == 0
    assert found.audit.coverage.total == 10
    assert found.files == done.files
    assert squeeze.inspect(str(done.files[0])) == found
    assert found.to_dict()["runtime"] == "onnxruntime"
    assert "0 of 10 convolutions" in found._repr_html_()
