"""Statistics, timing in turns, cost and memory against independent references."""

import itertools
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, top_k_accuracy_score
from torch import nn

from squeeze.core.errors import SqueezeError
from squeeze.core.types import Silent
from squeeze.measure import cost, environment, latency, memory, statistics
from squeeze.models.types import Architecture, Model
from squeeze.recipe.schema import InputSpec
from squeeze.runtimes.base import Execution
from squeeze.tasks.classification import metrics as scores
from squeeze.tasks.classification import task as classification


def test_wilson_by_hand() -> None:
    found = statistics.proportion(8, 10)
    z, p, n = 1.959964, 0.8, 10
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert (found.value, found.low, found.high) == pytest.approx(
        (0.8, centre - half, centre + half), abs=1e-6
    )
    assert statistics.proportion(10, 10).high == 1.0


def test_paired_drop_by_hand() -> None:
    before = np.array([True] * 90 + [False] * 10)
    after = np.array([True] * 84 + [False] * 6 + [True] * 2 + [False] * 8)
    found = statistics.paired_drop(before, after)
    half = 1.959964 * np.sqrt(6 + 2 + 1 - 16 / 102) / 102
    assert (found.value, found.low, found.high) == pytest.approx(
        (0.04, 4 / 102 - half, 4 / 102 + half), abs=1e-6
    )


def test_the_paired_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        outcome = rng.choice(4, p=[0.85, 0.05, 0.02, 0.08], size=300)
        before, after = (outcome == 0) | (outcome == 1), (outcome == 0) | (outcome == 2)
        found = statistics.paired_drop(before, after)
        covered += found.low <= 0.03 <= found.high
    assert 930 <= covered <= 975


def test_the_speedup_interval_is_that_of_a_plain_bootstrap() -> None:
    rng = np.random.default_rng(1)
    candidate = rng.lognormal(0, 0.1, (40, 3))
    baseline = 2 * candidate * rng.lognormal(0, 0.05, (40, 3))
    found = statistics.speedup(baseline.tolist(), candidate.tolist())
    rounds = [rng.integers(0, 40, 40) for _ in range(4000)]
    draws = [np.median(baseline[drawn]) / np.median(candidate[drawn]) for drawn in rounds]
    assert (found.low, found.high) == pytest.approx(np.percentile(draws, [2.5, 97.5]), rel=0.01)
    assert found.low < 2 < found.high


def test_timing_takes_turns_and_rotates() -> None:
    calls: list[str] = []

    def recording(name: str) -> Callable[[], None]:
        def call() -> None:
            calls.append(name)
            time.sleep(0.01)

        return call

    timings = latency.interleaved({n: recording(n) for n in "abc"}, Silent(), "x")
    runs = [name for name, _ in itertools.groupby(calls)][3:]  # warm-ups first
    assert runs[:6] == ["a", "b", "c", "b", "c", "a"] or runs[:5] == ["b", "c", "b", "c", "a"]
    rounds = timings["a"].latency.rounds
    assert all(len(t.rounds_s) == rounds >= 15 for t in timings.values())


def test_known_costs_give_their_ratio() -> None:
    timings = latency.interleaved(
        {"slow": lambda: time.sleep(0.03), "fast": lambda: time.sleep(0.01)}, Silent(), "x"
    )
    found = statistics.speedup(timings["slow"].rounds_s, timings["fast"].rounds_s)
    assert 2.5 < found.value < 3.1
    medians = [timings[name].latency.median_s for name in ("slow", "fast")]
    assert found.value == pytest.approx(medians[0] / medians[1])
    assert timings["fast"].latency.median_s >= 0.01
    assert len(timings["fast"].latency.raw_s) == timings["fast"].latency.calls


def test_scores_are_sklearns() -> None:
    rng = np.random.default_rng(0)
    outputs = rng.standard_normal((200, 10)).astype(np.float32)
    labels = rng.integers(0, 10, 200)
    found = scores.score(classification.predictions(outputs), labels)
    assert found.top1.value == pytest.approx(accuracy_score(labels, outputs.argmax(1)))
    assert found.top5.value == pytest.approx(top_k_accuracy_score(labels, outputs, k=5))


def test_two_models_are_compared_sample_by_sample() -> None:
    labels = np.array([0, 1, 2, 3])
    before, after = np.array([[0], [1], [2], [0]]), np.array([[0], [2], [2], [3]])
    found = scores.compare(before, after, labels, "abcd")
    assert (found.regressions, found.fixes, found.drop.value) == (1, 1, 0.0)
    assert found.agreement == statistics.proportion(2, 4)
    assert found.top5_drop == found.drop  # with one answer each, both are the same figure


def test_classes_and_confusions_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 300)  # of six classes one has no samples
    before, after = (
        np.where(rng.random(300) < share, labels, rng.integers(0, 6, 300))[:, None]
        for share in (0.9, 0.7)
    )
    found = scores.compare(before, after, labels, "abcdef")
    tables = [confusion_matrix(labels, each[:, 0], labels=range(6)) for each in (before, after)]
    by_name = {each.name: each for each in found.per_class}
    assert set(by_name) == set("abcde")
    for number, name in enumerate("abcde"):
        own = by_name[name]
        assert own.samples == tables[0][number].sum()
        assert (own.before, own.after) == (tables[0][number, number], tables[1][number, number])
        assert own.drop.value == pytest.approx((own.before - own.after) / own.samples)
        assert own.drop.low < own.drop.value < own.drop.high
    drops = [each.drop.value for each in found.per_class]
    assert drops == sorted(drops, reverse=True)
    grown = tables[1] - tables[0]
    np.fill_diagonal(grown, 0)
    assert [abs(each.after - each.before) for each in found.confusions] == sorted(
        np.abs(grown[grown != 0]).tolist(), reverse=True
    )[:20]
    for each in found.confusions:
        place = "abcdef".index(each.label), "abcdef".index(each.predicted)
        assert (each.before, each.after) == (tables[0][place], tables[1][place])


def test_outputs_with_nan_are_refused() -> None:
    with pytest.raises(SqueezeError, match="outputs hold NaN"):
        classification.predictions(np.array([[np.nan, 1.0]], np.float32))


def test_params_and_macs_by_hand_and_by_torch_pruning() -> None:
    from torch_pruning.utils import count_ops_and_params

    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    ).eval()
    model = Model(module, Architecture("x:y", Path(), {}, InputSpec(shape=(3, 16, 16))))
    assert cost.params(model) == (3 * 9 * 8 + 8) + 16 + 8 * 9 + (8 * 5 + 5)
    by_hand = 16 * 16 * 3 * 9 * 8 + 8 * 8 * 8 * 9 + 8 * 5
    assert cost.macs(model) == by_hand
    plain = nn.Sequential(  # Torch-Pruning counts norms and biases too: have none
        nn.Conv2d(3, 8, 3, bias=False), nn.Conv2d(8, 8, 3, stride=2, groups=4, bias=False)
    )
    model = Model(plain, Architecture("x:y", Path(), {}, InputSpec(shape=(3, 16, 16))))
    reference, _ = count_ops_and_params(plain, torch.zeros(1, 3, 16, 16))
    assert cost.macs(model) == reference


def test_macs_inside_of_attention_are_counted() -> None:
    """Torch's own attention layers take fused kernels, of which its counter knows nothing."""
    from torchvision.models.vision_transformer import VisionTransformer

    module = VisionTransformer(16, 8, 1, 2, 32, 64, num_classes=5).eval()
    model = Model(module, Architecture("x:y", Path(), {}, InputSpec(shape=(3, 16, 16))))
    tokens, width = 2 * 2 + 1, 32
    patches = 4 * (3 * 8 * 8) * width
    attention = 4 * tokens * width * width + 2 * tokens * tokens * width
    assert cost.macs(model) == patches + attention + 2 * tokens * width * 64 + width * 5
    assert torch.backends.mha.get_fastpath_enabled()


def test_params_of_googlenet_are_those_that_torchvision_documents() -> None:
    """Its two auxiliary heads, half of all parameters, run in training only."""
    from torchvision.models import GoogLeNet_Weights, googlenet

    module = googlenet(weights=None, init_weights=False, aux_logits=True)
    model = Model(module, Architecture("x:y", Path(), {}, InputSpec(shape=(3, 64, 64))))
    assert cost.params(model) == GoogLeNet_Weights.DEFAULT.meta["num_params"]
    assert sum(p.numel() for p in module.parameters()) > 13e6
    assert all(p.requires_grad for p in module.parameters())


def test_params_are_the_numbers_that_the_exported_file_holds(tmp_path: Path) -> None:
    """Also those that a layer's own forward never touches: attention's output projection."""
    import onnx

    from squeeze.runtimes.onnxruntime import export as exporter

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 4, stride=4)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.head, self.auxiliary = nn.Linear(8, 5), nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
            tokens = self.stem(x).flatten(2).transpose(1, 2)
            mixed = self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(dim=1)
            if self.training:
                return self.head(mixed), self.auxiliary(mixed)
            return self.head(mixed)

    module = Net()
    for parameter in module.parameters():  # equal ones would be stored once
        nn.init.normal_(parameter)
    model = Model(module, Architecture("x:y", Path(), {}, InputSpec(shape=(3, 16, 16))))
    exporter.export(model, tmp_path / "x.onnx")
    stored = onnx.load(tmp_path / "x.onnx").graph.initializer
    floats = [tensor for tensor in stored if tensor.data_type == onnx.TensorProto.FLOAT]
    weights = [math.prod(tensor.dims) for tensor in floats if math.prod(tensor.dims) > 1]
    assert cost.params(model) == sum(weights) == sum(p.numel() for p in module.parameters()) - 45


def test_peak_memory_is_the_childs_own(files: dict[str, Path]) -> None:
    ballast = np.ones(600 * 2**20 // 8)
    found = memory.peak_bytes("onnxruntime", files["onnx"], Execution(), (1, 1, 12, 12))
    assert ballast.nbytes > 500e6
    assert 0 < found < 200e6


def test_a_probe_that_fails_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nonsense")
    with pytest.raises(RuntimeError, match="cannot load it"):
        memory.peak_bytes("onnxruntime", tmp_path / "x.onnx", Execution(), (1, 1, 12, 12))


def test_the_environment_names_versions_but_no_host_or_user() -> None:
    import getpass
    import platform

    found = environment.describe()
    assert found["packages"]["torch"] == torch.__version__.partition("+")[0]
    text = str(found)
    assert platform.node() not in text or len(platform.node()) < 4
    assert f"/{getpass.getuser()}" not in text
    assert environment.broken_pairs() is None


def test_a_torchvision_whose_operators_do_not_load_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(environment, "_operators_load", lambda: False)
    assert environment.broken_pairs() is None  # asked again by importing it
    monkeypatch.setitem(sys.modules, "torchvision", None)
    found = environment.broken_pairs()
    assert found is not None
    assert "does not work with torch" in found


def test_doctor_asks_for_operators_without_importing_torchvision() -> None:
    code = (
        "import sys; from squeeze.measure import environment; "
        "print(environment.broken_pairs(), 'torchvision' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["None", "False"]
