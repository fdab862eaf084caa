"""Detectors of the DETR family: built and loaded, decoded and trained as transformers does it."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import DetrImageProcessor, RTDetrImageProcessor
from transformers.loss.loss_deformable_detr import DeformableDetrForObjectDetectionLoss
from transformers.loss.loss_for_object_detection import ForObjectDetectionLoss

from squeeze.core.boxes import Boxes
from squeeze.core.detector import DetectorSpec
from squeeze.core.errors import InputError, RecipeError
from squeeze.core.parity import distances
from squeeze.exporting import file
from squeeze.measure import cost
from squeeze.models import blocks, bundle, factory
from squeeze.models.detectors import transformers as sources
from squeeze.models.detectors import transformers_layers
from squeeze.models.types import Model
from squeeze.pruning import graph
from squeeze.pruning.step import prune
from squeeze.recipe import plan
from squeeze.recipe.load import from_data
from squeeze.recipe.schema import InputSpec, ModelBlock, PruneStep
from squeeze.runtimes.base import Execution
from squeeze.runtimes.litert import export as litert
from squeeze.runtimes.onnxruntime import export as onnx
from squeeze.runtimes.runtime import load as load_runtime
from squeeze.tasks.detection import decoding, nms_file
from squeeze.tasks.detection.decoders import base as decoders
from squeeze.tasks.detection.loss import base as losses
from squeeze.tasks.detection.loss import detr as detr_loss

litert_runtime, onnxruntime = load_runtime("litert"), load_runtime("onnxruntime")

SIZE = (64, 64)
STAGES = {"depths": [1, 1, 1, 1], "embedding_size": 8, "hidden_sizes": [8, 16, 24, 32]}
RESNET = {"model_type": "resnet", "layer_type": "basic", "out_features": ["stage4"]} | STAGES
PYRAMID = RESNET | {"out_features": ["stage2", "stage3", "stage4"]}
HEADS = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
SMALL: dict[str, Any] = HEADS | {
    "num_labels": 3,
    "d_model": 32,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_queries": 12,
    "decoder_layers": 2,
    "encoder_layers": 1,
}
RT_DETR = SMALL | {
    "encoder_hidden_dim": 32,
    "encoder_in_channels": [16, 24, 32],
    "decoder_in_channels": [32, 32, 32],
    "hidden_expansion": 0.5,
    "backbone_config": PYRAMID | {"model_type": "rt_detr_resnet"},
}
HGNET = {
    "model_type": "hgnet_v2",
    "stem_channels": [3, 8, 8],
    "stage_in_channels": [8, 16, 16, 24],
    "stage_mid_channels": [8, 8, 8, 8],
    "stage_out_channels": [16, 16, 24, 32],
    "stage_num_blocks": [1, 1, 1, 1],
    "stage_numb_of_layers": [1, 1, 1, 1],
    "hidden_sizes": [16, 16, 24, 32],
    "out_features": ["stage2", "stage3", "stage4"],
}
YOLOS = {
    "num_labels": 3,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "image_size": list(SIZE),
    "num_detection_tokens": 12,
}
TINY: dict[str, dict[str, Any]] = {
    "conditional_detr": SMALL | {"backbone_config": RESNET},
    "d_fine": RT_DETR | {"backbone_config": HGNET},
    "deformable_detr": SMALL | {"backbone_config": PYRAMID, "num_feature_levels": 3},
    "detr": SMALL | {"backbone_config": RESNET},
    "rt_detr": RT_DETR,
    "rt_detr_v2": RT_DETR,
    "yolos": YOLOS,
}
INPUT = InputSpec(shape=(3, *SIZE), fit="stretch")


def tiny(name: str) -> Model:
    """Build a model whose outputs depend on its input: fresh ones are almost blind."""
    block = ModelBlock(build=f"transformers:{name}", args=TINY[name], input=INPUT)
    model = blocks.build(block, Path())
    torch.manual_seed(0)
    for layer in model.module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
    for parameter in model.module.parameters():
        if parameter.dim() > 1:
            nn.init.kaiming_normal_(parameter)
    return model


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def spec_of(name: str) -> DetectorSpec:
    background = 3 if name in sources.WITH_BACKGROUND else None
    return DetectorSpec(
        "detr",
        3,
        background=background,
        scores="sigmoid" if background is None else "softmax",
        nms="none",
        score_threshold=0.0,
        candidates=12,
        max_detections=12,
    )


@pytest.mark.parametrize("name", sources.KNOWN)
def test_every_known_model_type_is_a_raw_detector(name: str) -> None:
    model = tiny(name)
    assert decoding.check_module(model.module, SIZE, 3) == spec_of(name)
    with torch.inference_mode():
        expected = model.module.detr(pixel_values=images(2))  # type: ignore[operator]
        logits, boxes = model.module(images(2))
    assert torch.equal(logits, expected.logits)
    assert torch.equal(boxes, expected.pred_boxes)
    assert not any("Frozen" in type(layer).__name__ for layer in model.module.modules())
    assert cost.macs(model) > 10 * cost.params(model)


@pytest.mark.parametrize(
    ("name", "processor"), [("detr", DetrImageProcessor), ("rt_detr", RTDetrImageProcessor)]
)
def test_decoding_equals_transformers(name: str, processor: Callable[[], Any]) -> None:
    torch.manual_seed(0)
    spec, size = spec_of(name), (48, 80)
    logits, boxes = 2 * torch.randn(3, 12, spec.columns), torch.rand(3, 12, 4) / 2 + 0.1
    outputs = SimpleNamespace(logits=logits, pred_boxes=boxes)
    found = decoding.detections([logits.numpy(), boxes.numpy()], spec, size)
    expected = processor().post_process_object_detection(
        outputs, threshold=0.0, target_sizes=[size] * 3
    )
    for own, other in zip(found, expected, strict=True):
        order = other["scores"].argsort(descending=True)
        corners = decoders.clip(other["boxes"][order], size)  # transformers lets boxes reach out
        assert len(own) == len(order) == 12
        assert np.allclose(own.xyxy, corners.numpy(), atol=1e-4)
        assert np.allclose(own.scores, other["scores"][order].numpy(), atol=1e-4)
        assert (own.classes == other["labels"][order].numpy()).all()


TRUTH = (
    Boxes.of([[4, 6, 20, 40], [30, 10, 60, 30], [8, 8, 16, 20]], [0, 1, 2]),
    Boxes.of([[20, 20, 44, 50]], [2]),
    Boxes.none(),
)


@pytest.mark.parametrize(
    ("name", "reference"),
    [("detr", ForObjectDetectionLoss), ("deformable_detr", DeformableDetrForObjectDetectionLoss)],
)
def test_the_loss_equals_transformers(name: str, reference: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    spec = spec_of(name)
    logits, shares = torch.randn(3, 12, spec.columns), torch.rand(3, 12, 4) / 3 + 0.2
    places = decoders.places(spec, SIZE, logits)
    found = detr_loss.loss([logits, shares], losses.targets_of(TRUTH, spec, logits), places, spec)
    labels = []
    for one in TRUTH:
        corners = torch.from_numpy(one.xyxy) / 64
        centred = torch.cat(
            [(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1
        )
        labels.append({"class_labels": torch.from_numpy(one.classes), "boxes": centred})
    config = sources.build(name, TINY[name]).detr.config
    expected, *_ = reference(logits, labels, "cpu", shares, config)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_a_model_learns_and_its_frozen_statistics_stay() -> None:
    module = tiny("detr").module.train()
    assert isinstance(module, sources.Queries)
    still = [
        layer for layer in module.modules() if isinstance(layer, transformers_layers.StillBatchNorm)
    ]
    before = [layer.running_mean.clone() for layer in still if layer.running_mean is not None]
    outputs = module(images(3))
    places = decoders.places(module.detector, SIZE, outputs[0])
    targets = losses.targets_of(TRUTH, module.detector, outputs[0])
    detr_loss.loss(outputs, targets, places, module.detector).backward()
    last = [layer for layer in module.detr.model.backbone.modules() if isinstance(layer, nn.Conv2d)]
    assert last[-1].weight.grad is not None
    assert float(last[-1].weight.grad.abs().max()) > 0
    assert len(still) == 12
    for layer, mean in zip(still, before, strict=True):
        assert layer.weight.grad is None
        assert torch.equal(mean, torch.as_tensor(layer.running_mean))


@pytest.mark.parametrize("name", ["detr", "rt_detr"])
def test_attention_is_pruned_and_a_bundle_computes_the_same(name: str, tmp_path: Path) -> None:
    model = tiny(name)
    found = graph.find_groups(model)
    groups = {group.name.removeprefix("detr.model."): group for group in found.groups}
    assert groups["decoder.layers.0.self_attn.v_proj"].kept is None
    assert groups["decoder.layers.0.mlp.fc1"].kept is None
    stages = [name for name in groups if "backbone" in name and groups[name].kept is None]
    assert len(stages) >= 8
    pruned = prune(model, PruneStep(pruning_ratio=0.5, align=1), seed=0)
    assert cost.macs(model) > 1.5 * cost.macs(pruned)
    loaded = bundle.load(bundle.save(pruned, tmp_path / "saved"))
    with torch.inference_mode():
        for one, other in zip(loaded.module(images(1)), pruned.module(images(1)), strict=True):
            assert torch.equal(one, other)


def exports(name: str, folder: Path) -> None:
    """Export, run with other batches than the exporter saw, and put decoding behind."""
    model, path = tiny(name), folder / f"{name}.onnx"
    onnx.export(model, path)
    for count in (1, 3):
        with torch.inference_mode():
            expected = [part.numpy() for part in model.module(images(count))]
        session = onnxruntime.open_session(path, Execution())
        found = session.invoke(session.prepare(images(count).numpy()))
        session.close()
        for away, scale in distances(found, expected, model.module.detector):  # type: ignore[arg-type]
            assert away < 1e-3 * scale
    assert file.difference(onnxruntime, path, model, 2) < 1e-2  # type: ignore[arg-type]
    made = nms_file.write(path, model, images(3).numpy())
    assert (made.detections, made.shared) == (36, 1.0)


def test_detr_is_exported(tmp_path: Path) -> None:
    exports("detr", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(sources.KNOWN) - {"detr"}))
def test_the_others_are_exported(name: str, tmp_path: Path) -> None:
    exports(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["detr", "rt_detr"])
def test_they_run_in_litert(name: str, tmp_path: Path) -> None:
    model, path = tiny(name), tmp_path / f"{name}.tflite"
    litert.export(model, path)
    assert file.difference(litert_runtime, path, model, 1) < 1e-3  # type: ignore[arg-type]


def test_parity_does_not_ask_for_the_order_of_chosen_queries() -> None:
    rng = np.random.default_rng(0)
    expected = [rng.random((2, 50, 3), np.float32), rng.random((2, 50, 4), np.float32)]
    order = rng.permutation(50)
    found = [part[:, order] + np.float32(1e-4) for part in expected]
    assert max(away for away, _ in distances(found, expected, spec_of("rt_detr"))) < 2e-4
    assert max(away for away, _ in distances(found, expected, None)) > 0.1


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Model]:
    """A folder as transformers leaves it, whose names are not those of its modules."""
    model = tiny("detr")
    model.module.detr.save_pretrained(tmp_path / "checkpoint")  # type: ignore[operator,union-attr]
    return tmp_path / "checkpoint", model


def test_a_folder_of_transformers_is_loaded_and_needed_no_more(
    saved: tuple[Path, Model], tmp_path: Path
) -> None:
    folder, original = saved
    block = ModelBlock(weights="checkpoint", input=INPUT)
    model = blocks.build(block, tmp_path)
    assert model.architecture.build == "transformers:detr"
    json.dumps(model.architecture.args)
    place = bundle.save(model, tmp_path / "bundle")
    folder.rename(tmp_path / "elsewhere")
    again = bundle.load(place)
    with torch.inference_mode():
        expected = original.module(images(2))
        for one in (model, again):
            assert all(map(torch.equal, one.module(images(2)), expected))


def test_another_number_of_classes_starts_its_layers_anew(
    saved: tuple[Path, Model], tmp_path: Path
) -> None:
    block = ModelBlock(weights="checkpoint", args={"num_labels": 5}, input=INPUT)
    model = blocks.build(block, tmp_path)
    own, other = (one.module.state_dict() for one in (model, saved[1]))
    changed = {key for key in own if own[key].shape != other[key].shape}
    assert changed == {"detr.class_labels_classifier.weight", "detr.class_labels_classifier.bias"}
    assert all(torch.equal(own[key], other[key]) for key in set(own) - changed)
    again = factory.make(model.architecture.build, model.architecture.args, Path())
    assert again.detector.classes == 5  # type: ignore[union-attr]


def test_a_backbone_of_timm_is_named_as_older_files_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.socket.connect", None)  # nothing may ask a server
    settings = {"out_indices": [1, 2, 3, 4], "in_chans": 3}
    args = SMALL | {"backbone": "resnet18", "use_timm_backbone": True, "backbone_kwargs": settings}
    block = ModelBlock(build="transformers:detr", args=args, input=INPUT)
    original = blocks.build(block, Path())
    original.module.detr.save_pretrained(tmp_path / "old")  # type: ignore[operator,union-attr]
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    del config["backbone_config"]
    older = config | args | {"use_pretrained_backbone": True}
    (tmp_path / "old" / "config.json").write_text(json.dumps(older))
    loaded = blocks.build(ModelBlock(weights="old", input=INPUT), tmp_path)
    again = bundle.load(bundle.save(loaded, tmp_path / "bundle"))
    with torch.inference_mode():
        expected = original.module(images(1))[0]
        assert torch.equal(loaded.module(images(1))[0], expected)
        assert torch.equal(again.module(images(1))[0], expected)


def test_what_does_not_fit_is_told(saved: tuple[Path, Model], tmp_path: Path) -> None:
    folder, _ = saved
    cases: list[tuple[dict[str, Any], str]] = [
        ({"build": "transformers:bert"}, "unknown model type 'bert', allowed: detr, yolos"),
        (
            {"build": "transformers:detr", "args": {"classes": 3}},
            "the configuration of detr has no classes",
        ),
        (
            {"build": "transformers:detr", "args": {"backbone": "some/where"}},
            "backbone some/where would be downloaded: give its backbone_config",
        ),
        ({"build": "transformers:detr", "weights": "checkpoint"}, "says itself what to build"),
    ]
    for block, told in cases:
        with pytest.raises(InputError, match=told):
            blocks.build(ModelBlock.model_validate(block | {"input": INPUT}), tmp_path)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="holds a bert, allowed"):
        blocks.build(ModelBlock(weights="checkpoint", input=INPUT), tmp_path)


def test_recipes_are_checked_without_building(
    recipe_data: dict[str, Any], saved: tuple[Path, Model], tmp_path: Path
) -> None:
    recipe_data["model"] = {"build": "transformers:detr", "weights": saved[0].name}
    with pytest.raises(RecipeError) as told:
        plan.check(from_data(recipe_data, tmp_path))
    problems = [str(problem) for problem in told.value.problems]
    assert any("model.build: checkpoint says what to build: leave this out" in p for p in problems)
    assert any("model: needs 'input', for example" in p for p in problems)
