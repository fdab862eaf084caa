"""What ``squeeze check`` says of schemes, backends and the targets that cannot hold them."""

from typing import Any

import pytest

from squeeze.core.cpu import Cpu
from squeeze.recipe import quantization, schemes, targets
from squeeze.recipe.schema import Recipe

OLD = Cpu("old", "x86_64", ("avx2",))
NEW = Cpu("new", "x86_64", ("avx512_fp16",))
PHONE = Cpu("phone", "aarch64", ("asimdhp",))


def a_recipe(recipe_data: dict[str, Any], targets: list[Any], **step: Any) -> Recipe:
    chosen = recipe_data | {
        "steps": [{"method": "quantize", **step}],
        "targets": targets,
        "gates": [],
    }
    return Recipe.model_validate(chosen)


def mistakes(recipe: Recipe) -> list[tuple[Any, str]]:
    return list(quantization.mistakes(recipe.steps[0], recipe))  # type: ignore[arg-type]


def nowhere(recipe: Recipe) -> str | None:
    return quantization.nowhere(recipe.steps[0], recipe.targets)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scheme", "target", "reason"),
    [
        ("bf16", {"runtime": "onnxruntime"}, "ONNX Runtime has no bfloat16 convolution on the CPU"),
        ("bf16", {"runtime": "litert"}, "LiteRT has no bfloat16 convolution on the CPU"),
        (
            "static_int8_int16",
            {"runtime": "onnxruntime"},
            "ONNX Runtime has no 16-bit integer kernels on the CPU",
        ),
        ("dynamic_int8", {"runtime": "pytorch"}, "PyTorch runs bundles, which hold no int8"),
        (
            "static_int8",
            {"runtime": "litert", "precision": "fp16"},
            "the target asks for fp16, the quantize step makes int8",
        ),
    ],
)
def test_an_only_target_that_cannot_hold_a_scheme_is_a_mistake(
    recipe_data: dict[str, Any], scheme: str, target: dict[str, Any], reason: str
) -> None:
    told = nowhere(a_recipe(recipe_data, [target], scheme=scheme))
    label = target["runtime"]
    start = f"the quantize step makes {scheme} files, which no target takes: {label}: {reason}"
    assert told is not None
    assert told.startswith(start)


def test_one_target_that_holds_it_is_enough(recipe_data: dict[str, Any]) -> None:
    targets = [{"runtime": "onnxruntime"}, {"runtime": "pytorch"}]
    assert nowhere(a_recipe(recipe_data, targets, scheme="bf16")) is None
    assert nowhere(a_recipe(recipe_data, targets, scheme="weight_only_int8")) is None


def test_only_schemes_with_ranges_demand_calibration(recipe_data: dict[str, Any]) -> None:
    del recipe_data["data"]["calibration"]
    demanding = {
        scheme
        for scheme in schemes.SCHEMES
        if scheme != "qat_int8"
        and mistakes(a_recipe(recipe_data, [{"runtime": "litert"}], scheme=scheme))
    }
    assert demanding == {"static_int8", "static_int8_int16"}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"scheme": "fp16", "weight_bits": 7}, "weight_bits has no effect on scheme fp16"),
        ({"scheme": "bf16", "recovery": {"equalize": False}}, "recovery has no effect on scheme"),
        ({"scheme": "dynamic_int8", "calibrator": 5.0}, "calibrator"),
        ({"scheme": "dynamic_in8"}, "did you mean 'dynamic_int8'?"),
    ],
)
def test_what_a_scheme_does_not_know_is_refused(
    recipe_data: dict[str, Any], step: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValueError, match="validation error") as refused:
        a_recipe(recipe_data, [{"runtime": "onnxruntime"}], **step)
    assert expected in str(refused.value)


def test_defaults_may_be_written_out(recipe_data: dict[str, Any]) -> None:
    once = a_recipe(recipe_data, [{"runtime": "onnxruntime"}], scheme="fp16")
    assert Recipe.model_validate(once.model_dump(mode="json", by_alias=True)) == once


@pytest.mark.parametrize(
    ("step", "place", "expected"),
    [
        (
            {"scheme": "dynamic_int8"},
            "backend",
            "neural_compressor cannot make dynamic_int8, allowed: static_int8, fp16",
        ),
        ({"weight_bits": 7}, "weight_bits", "has no effect on backend neural_compressor"),
        ({"keep_float": ["fc"]}, "keep_float", "has no effect on backend neural_compressor"),
    ],
)
def test_what_a_backend_cannot_do_is_told(
    recipe_data: dict[str, Any], step: dict[str, Any], place: str, expected: str
) -> None:
    targets = [{"runtime": "onnxruntime"}]
    chosen = a_recipe(recipe_data, targets, backend="neural_compressor", **step)
    assert ((place,), expected) in mistakes(chosen)


def test_autotune_is_of_one_backend(recipe_data: dict[str, Any]) -> None:
    targets = [{"runtime": "onnxruntime"}]
    tuned = a_recipe(recipe_data, targets, autotune={"max_drop": 0.02})
    assert [place for place, _ in mistakes(tuned)] == [("autotune",)]
    tuned = a_recipe(recipe_data, targets, autotune={}, backend="neural_compressor")
    assert mistakes(tuned) == []


def test_mixed_precision_knows_the_figures_of_its_task(recipe_data: dict[str, Any]) -> None:
    targets = [{"runtime": "onnxruntime"}]
    place = ("mixed_precision", "metric")
    for metric, task in (("map", "detection"), ("top1", "classification")):
        step = {"mixed_precision": {"metric": metric}}
        recipe = a_recipe(recipe_data, targets, **step).model_copy(update={"task": task})
        assert place not in [where for where, _ in mistakes(recipe)]
        other = "classification" if task == "detection" else "detection"
        found = dict(mistakes(recipe.model_copy(update={"task": other})))
        what = f"metric '{metric}' is not available for {other}; available: auto, "
        assert found[place].startswith(what)


@pytest.mark.parametrize(
    ("machine", "runtime", "says"),
    [
        (OLD, "onnxruntime", "old has no fp16 arithmetic"),
        (NEW, "onnxruntime", "onnxruntime computes in float32 on x86"),
        (PHONE, "onnxruntime", None),
        (PHONE, "litert", "litert computes in float32 unless the application asks"),
        (OLD, "pytorch", None),
    ],
)
def test_half_precision_that_is_only_stored_is_said(
    machine: Cpu, runtime: str, says: str | None
) -> None:
    told = schemes.half_warning("fp16", runtime, machine)
    assert (told is None) == (says is None)
    assert told is None or f"fp16 is storage only: {says}" in told
    assert schemes.half_warning("int8", runtime, machine) is None


def test_torch_computes_fp16_only_where_the_cpu_does() -> None:
    refused = schemes.refusal("fp16", "pytorch", "cpu", OLD)
    assert refused is not None
    assert refused.startswith("old has no fp16 arithmetic")
    assert schemes.refusal("fp16", "pytorch", "cpu", NEW) is None
    assert schemes.refusal("fp16", "pytorch", "cuda", OLD) is None
    assert schemes.precisions("pytorch", "cpu", OLD) == ("fp32", "bf16")
    assert schemes.precisions("pytorch", "cpu", PHONE) == ("fp32", "fp16", "bf16")


@pytest.mark.parametrize(
    ("named", "says"),
    [("x86_avx2", "x86 with AVX2"), ("arm64", "64-bit ARM"), ("arm64_fp16", None)],
)
def test_the_cpu_that_a_target_names_decides_and_not_the_host(
    named: str, says: str | None, recipe_data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for host in (OLD, PHONE):
        monkeypatch.setattr("squeeze.core.cpu.host", lambda host=host: host)
        target = {"runtime": "pytorch", "cpu": named}
        recipe = a_recipe(recipe_data, [target], scheme="fp16")
        told = schemes.left_out(recipe.steps[0], recipe.targets[0])  # type: ignore[arg-type]
        assert told == nowhere_reason(nowhere(recipe))
        assert (told is None) == (says is None)
        assert told is None or told.startswith(f"{says} has no fp16 arithmetic")


def nowhere_reason(told: str | None) -> str | None:
    return None if told is None else told.partition("pytorch: ")[2]


@pytest.mark.parametrize(
    ("target", "scheme", "fine"),
    [
        ({"runtime": "pytorch", "cpu": "arm64"}, "bf16", False),
        ({"runtime": "pytorch", "cpu": "arm64_fp16"}, "fp16", True),
        ({"runtime": "pytorch", "cpu": "arm64_fp16", "precision": "fp16"}, "bf16", True),
        ({"runtime": "litert", "cpu": "arm64"}, "static_int8", True),
        ({"runtime": "pytorch", "cpu": "arm64_fp16", "device": "cuda"}, "fp16", False),
    ],
)
def test_a_cpu_is_named_only_where_it_decides_something(
    target: dict[str, Any], scheme: str, *, fine: bool, recipe_data: dict[str, Any]
) -> None:
    recipe = a_recipe(recipe_data, [target], scheme=scheme)
    found = [where for where, _ in targets._target(recipe.targets[0], (), recipe.steps[0])]  # type: ignore[arg-type]
    assert (("cpu",) not in found) == fine
