"""Prune, export, evaluate and benchmark modules and files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import squeeze
from squeeze import InputError, SqueezeError
from squeeze.api.results import PruneResult
from squeeze.results import ClassificationChange


@pytest.fixture(scope="module")
def smaller(known: Any) -> PruneResult:
    return squeeze.prune(known.model, data=known.train, pruning_ratio=0.5)


def test_pruning_gives_a_module_that_trains_and_runs(smaller: PruneResult, known: Any) -> None:
    assert smaller.params == sum(one.numel() for one in smaller.model.parameters())
    assert smaller.params_before == sum(one.numel() for one in known.model.parameters())
    assert smaller.macs_before / smaller.macs > 3
    assert smaller.model(known.images[:2]).shape == (2, 10)
    assert all(one.requires_grad for one in smaller.model.parameters())
    assert "channels in 6 of 7 groups removed by l2" in smaller.notes[0]
    assert smaller.to_dict()["macs"] == smaller.macs
    assert smaller.files == ()
    assert repr(smaller).startswith(f"PruneResult(params={smaller.params}, ")
    assert f"<td>{smaller.macs:,}</td>" in smaller._repr_html_()


def test_a_pruned_model_is_pruned_and_fine_tuned_further(smaller: PruneResult, known: Any) -> None:
    settings = {"finetune": {"epochs": 1, "lr": 0.05}}
    again = squeeze.prune(
        smaller,
        data=known.train,
        validation=known.validation,
        pruning_ratio=0.25,
        settings=settings | {"align": 1},
    )
    assert again.params < smaller.params
    assert len(again.source.architecture.pruning) == 2
    assert len(again.epochs) == 1
    with pytest.raises(InputError, match="validation: is needed"):
        squeeze.prune(smaller, data=known.train, pruning_ratio=0.5, settings=settings)


def test_a_file_computes_what_the_module_does(known: Any, tmp_path: Path) -> None:
    done = squeeze.export(known.model, known.example, output=str(tmp_path), name="net")
    (path,) = done.files
    assert path == tmp_path / "net.onnx"
    assert done.size_bytes == path.stat().st_size
    session = onnxruntime.InferenceSession(path)
    (found,) = session.run(None, {session.get_inputs()[0].name: known.images[:8].numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(found, known.model(known.images[:8]), atol=1e-4)
    assert done.difference < 1e-4
    assert "InputSpec" in done.notes[0]  # how images were normalised is not known
    with pytest.raises(InputError, match="exists already"):
        squeeze.export(known.model, known.example, output=tmp_path, name="net")


def test_a_file_without_a_folder_goes_with_its_result(known: Any) -> None:
    spec = squeeze.InputSpec(shape=(1, 12, 12), mean=(0.3,), std=(0.35,))
    done = squeeze.export(known.model, spec, "onnxruntime")
    path = done.files[0]
    assert path.is_file()
    assert done.notes == ()
    del done
    assert not path.parent.exists()


def test_an_unknown_runtime(known: Any) -> None:
    with pytest.raises(InputError, match=r"unknown runtime 'onx', allowed: .*did you mean 'onnx'"):
        squeeze.export(known.model, known.example, "onx")


def test_module_and_file_are_evaluated_each_in_its_runtime(known: Any) -> None:
    done = squeeze.export(known.model, known.example)
    both = [
        squeeze.evaluate(model, known.validation)
        for model in (known.model, done, done.files[0], str(done.files[0]))
    ]
    assert [one.runtime for one in both] == ["pytorch", *["onnxruntime"] * 3]
    with torch.inference_mode():
        expected = (known.model(known.images).argmax(1) == known.labels).float().mean().item()
    for one in both:
        assert one.accuracy.samples == 540
        assert one.to_dict()["accuracy"]["top1"]["value"] == pytest.approx(expected)
        assert (one.predictions[:, 0] == both[0].predictions[:, 0]).all()
    assert "<td>top-1</td>" in both[0]._repr_html_()
    assert both[1].files == done.files
    assert both[0].files == ()


def test_fewer_samples_are_drawn_by_the_seed(known: Any) -> None:
    one, two, other = (
        squeeze.evaluate(known.model, known.validation, samples=50, seed=seed) for seed in (0, 0, 1)
    )
    assert one.accuracy.samples == 50
    assert (one.predictions == two.predictions).all()
    assert (one.predictions != other.predictions).any()


def test_labels_that_the_model_does_not_know(known: Any) -> None:
    class Named(torch.utils.data.TensorDataset):
        classes = ("zero", "one")

    data = Named(known.images, known.labels)
    with pytest.raises(InputError, match="names 2 classes and the model knows 10"):
        squeeze.evaluate(known.model, data)


def test_outputs_that_are_nan(known: Any) -> None:
    class Broken(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.full((len(images), 10), torch.nan)

    with pytest.raises(SqueezeError, match="hold NaN or infinity"):
        squeeze.evaluate(Broken().eval(), known.validation)


def test_models_are_timed_interleaved(known: Any, smaller: PruneResult) -> None:
    done = squeeze.export(smaller)
    found = squeeze.benchmark({"float": known.model, "pruned": done}, known.example)
    assert [one.name for one in found.models] == ["float", "pruned"]
    assert {one.runtime for one in found.models} == {"onnxruntime"}
    first, second = found.models
    assert first.speedup.value == 1
    assert second.speedup.value == pytest.approx(
        first.latency.median_s / second.latency.median_s, rel=1e-6
    )
    assert second.speedup.low <= second.speedup.value <= second.speedup.high
    assert first.latency.rounds == second.latency.rounds
    assert found.files == done.files
    assert len(found.to_dict()["models"][0]["latency"]["raw_s"]) == first.latency.calls
    assert "<td>pruned</td>" in found._repr_html_()


def test_what_cannot_be_timed(known: Any) -> None:
    for models in ([], "model.onnx", 3):
        with pytest.raises(InputError, match="expected a list of models"):
            squeeze.benchmark(models)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="threads: found 0"):
        squeeze.benchmark([known.model], threads=0)
    with pytest.raises(InputError, match="does not say what it is fed"):
        squeeze.benchmark([known.model])


def test_a_table_needs_pandas(smaller: PruneResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(SqueezeError, match="needs pandas"):
        smaller.to_dataframe()


def test_a_table_of_pandas(smaller: PruneResult) -> None:
    pytest.importorskip("pandas")
    assert list(smaller.to_dataframe()["model"]) == ["before", "after"]


def test_a_result_is_saved_with_its_factory(
    smaller: PruneResult, known: Any, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="a bundle records how to build the module again"):
        smaller.save(tmp_path / "bundle")
    with pytest.raises(InputError, match="builtin:resnet20: does not fit the model"):
        smaller.save(tmp_path / "bundle", build="builtin:resnet20")
    args = {"num_classes": 10, "in_channels": 1}
    place = smaller.save(tmp_path / "bundle", build="builtin:resnet8", args=args)
    loaded = squeeze.load_bundle(place)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(known.images), smaller.model(known.images))
    again = squeeze.prune(place, pruning_ratio=0.25, settings={"align": 1})
    assert again.save(tmp_path / "again").is_dir()  # a bundle knows its factory


def test_a_factory_of_another_model_leaves_no_bundle(known: Any, tmp_path: Path) -> None:
    done = squeeze.export(known.model, known.example)
    whole = PruneResult(done.source, 1, 1, 1, 1)
    with pytest.raises(InputError, match="does not fit the model"):
        whole.save(tmp_path / "bundle", build="builtin:resnet20")
    assert not (tmp_path / "bundle").exists()


def test_two_evaluations_are_paired(known: Any, smaller: PruneResult) -> None:
    before, after = (squeeze.evaluate(one, known.validation) for one in (known.model, smaller))
    change = after.against(before)
    right = [(one.predictions[:, 0] == known.labels.numpy()) for one in (before, after)]
    assert isinstance(change, ClassificationChange)
    assert change.drop.value == pytest.approx(right[0].mean() - right[1].mean())
    assert change.regressions == (right[0] & ~right[1]).sum()
    assert change.drop.low < change.drop.value < change.drop.high
    other = squeeze.evaluate(known.model, known.validation, samples=50)
    with pytest.raises(InputError, match="other samples"):
        after.against(other)


def test_descriptions_of_a_file_that_disagree_are_noted_and_damaged_ones_refused(
    known: Any, tmp_path: Path
) -> None:
    done = squeeze.export(known.model, known.example, output=tmp_path, name="net")
    beside = tmp_path / "net.onnx.json"
    clean = squeeze.evaluate(done, known.validation)
    assert not any("disagree" in note for note in clean.notes)
    record = json.loads(beside.read_text())
    record["input"]["crop_fraction"] = 0.5
    beside.write_text(json.dumps(record))
    found = squeeze.evaluate(done, known.validation)
    (note,) = (note for note in found.notes if "disagree" in note)
    assert "net.onnx.json is used" in note
    record["input"]["shape"] = "large"
    for text in ("{", json.dumps(record)):
        beside.write_text(text)
        with pytest.raises(InputError, match="is damaged") as caught:
            squeeze.evaluate(done, known.validation)
        assert "net.onnx.json" in str(caught.value)
        assert "remove it and give example=" in str(caught.value)
