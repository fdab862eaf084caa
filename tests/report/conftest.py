"""The record of a small run, and its parts, for tests of what is rendered from it."""

import pytest

from squeeze.results import (
    AuditedNode,
    ClassificationAccuracy,
    ClassificationChange,
    ClassificationPicture,
    DataRecord,
    Epoch,
    Estimate,
    GateResult,
    KernelCoverage,
    Latency,
    ModelRecord,
    Parity,
    Results,
    Row,
)

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="


def _at(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.01, high=value + 0.01)


def _latency(median_s: float, *, noisy: bool = False) -> Latency:
    return Latency(
        median_s=median_s,
        p95_s=2 * median_s,
        iqr_s=median_s / 20,
        calls=3,
        rounds=3,
        noisy=noisy,
        raw_s=(median_s,) * 3,
    )


def _row(model: str, target: str, **changes: object) -> Row:
    base: dict[str, object] = {
        "model": model,
        "target": target,
        "runtime": target,
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
        "batch_size": 1,
        "artifact": f"artifacts/{model}",
        "size_bytes": 1_500_000,
        "accuracy": ClassificationAccuracy(samples=100, top1=_at(0.9), top5=_at(0.98)),
        "latency": _latency(0.010),
    }
    return Row.model_validate(base | changes)


@pytest.fixture
def results() -> Results:
    change = ClassificationChange(
        drop=_at(0.02), top5_drop=_at(0.0), agreement=_at(0.95), regressions=3, fixes=1
    )
    coverage = KernelCoverage(
        int8=9,
        total=10,
        convolutions=(9, 9),
        survivors=(AuditedNode(name="node_linear", op="Gemm", reason="left in float"),),
        conversions={"QuantizeLinear": 1},
    )
    int8 = {
        "precision": "int8",
        "size_bytes": 400_000,
        "accuracy": ClassificationAccuracy(samples=100, top1=_at(0.88), top5=_at(0.98)),
        "change": change,
        "coverage": coverage,
        "peak_memory_bytes": 2_000_000,
    }
    parity = Parity(samples=16, max_difference=1e-5, scale=8.0, same_class=1.0)
    return Results(
        squeeze="0",
        name="run <b>",
        id="20260101-000000",
        started="2026-01-01T00:00:00+00:00",
        seconds=12.0,
        command="squeeze run a.yaml",
        recipe={"version": 1, "name": "run"},
        environment={"cpu": "CPU", "cores": 2, "packages": {"torch": "2"}},
        data=(DataRecord(role="validation", samples=100, fingerprint="ab12"),),
        models=(
            ModelRecord(
                name="baseline",
                method="baseline",
                params=1_000_000,
                macs=5_000_000,
                seconds=3,
                epochs=(Epoch(loss=0.5, score=0.9, seconds=1),),
                reused_from="20251231-000000",
            ),
            ModelRecord(
                name="1-quantize", method="quantize", params=1_000_000, macs=5_000_000, seconds=1
            ),
        ),
        rows=(
            _row("baseline", "onnxruntime", parity=parity),
            _row(
                "1-quantize",
                "onnxruntime",
                latency=_latency(0.020, noisy=True),
                speedup=_at(0.5),
                over_float=_at(0.5),
            ).model_copy(update={k: v for k, v in int8.items() if k != "latency"}),
            _row("baseline", "pytorch"),
            _row(
                "1-quantize",
                "pytorch",
                skipped="holds no int8 | file\nat all",
                accuracy=None,
                latency=None,
            ),
        ),
        gates=(
            GateResult(
                gate="top1",
                target="onnxruntime",
                limit="change >= -1.00 points",
                found="-2.00 [-3.00, -1.00]",
                model="1-quantize",
                verdict="fail",
                note="a | b",
            ),
        ),
        pictures=(
            ClassificationPicture(
                name="7.png", label="cat", baseline="cat", candidate="dog", png=PNG
            ),
        ),
        warnings=("Noisy timings",),
        stages_s={"data": 1.0},
    )
