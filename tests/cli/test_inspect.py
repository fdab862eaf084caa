"""``squeeze inspect``: the summary, the groups of pruning, and their sensitivity."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.command_line import Run

MODEL = (
    *("builtin:resnet8", "--weights", "random"),
    *("--arg", "in_channels=1", "--input", "1,12,12"),
)
DIGITS = ("--data", "builtin:digits")
GROUPS = {"conv1": 16, "stages.0.0.conv1": 16, "stages.1.0.conv1": 32, "stages.2.0.conv1": 64}
STREAMS = {"stages.1.0.shortcut.0": 32, "stages.2.0.shortcut.0": 64}


@pytest.fixture
def squeeze(in_process: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command on a wide terminal."""
    monkeypatch.setenv("COLUMNS", "240")
    return in_process


def by_layer(groups: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the groups by the layers that make their channels."""
    return {
        layer["layer"]: group
        for group in groups
        for layer in group["layers"]
        if layer["side"] == "out"
    }


def test_every_group_is_shown_with_why_it_stays(squeeze: Run) -> None:
    code, out, _ = squeeze("inspect", "pruning", *MODEL, "--keep", "stages.2*", "--json")
    assert code == 0
    shown = json.loads(out)
    assert set(shown) == {"groups", "adapters"}
    assert shown["adapters"] == []
    made = by_layer(shown["groups"])
    for name, channels in (GROUPS | STREAMS).items():
        assert made[name]["channels"] == channels
        # what stages.2 reads is made by stages.1.0.conv2
        touches = name.startswith("stages.2") or made[name] is made["stages.1.0.conv2"]
        assert made[name]["kept"] == ("kept by the recipe ('stages.2*')" if touches else None)
        assert made[name]["unit"] == 1
    assert made["fc"]["kept"] == "makes the model's output"
    assert made["stages.1.0.conv2"] is made["stages.1.0.shortcut.0"]
    reads = [tie for tie in made["stages.2.0.conv2"]["layers"] if tie["side"] == "in"]
    assert {"layer": "fc", "kind": "Linear", "side": "in"} in reads


def test_the_table_ends_with_what_can_be_pruned(squeeze: Run) -> None:
    code, out, _ = squeeze("inspect", "pruning", *MODEL)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == (
        "Group Channels At once Prunable Made or kept by Read by".split()  # noqa: SIM905
    )
    assert lines[-1] == "6 of 7 groups can be pruned, with 224 of 234 channels"
    assert any(line.startswith("fc ") and "makes the model's output" in line for line in lines)


def test_rewritten_layers_and_layers_that_never_run_are_told(squeeze: Run, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "from torchvision.models.vision_transformer import EncoderBlock\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.stem, self.block = nn.Conv2d(3, 8, 4, 4), EncoderBlock(2, 8, 16, 0.0, 0.0)\n"
        "        self.head, self.spare = nn.Linear(8, 2), nn.Linear(2, 2)\n"
        "    def forward(self, x):\n"
        "        x = self.stem(x).flatten(2).transpose(1, 2)\n"
        "        return self.head(self.block(x).mean(1))\n"
    )
    code, out, _ = squeeze("inspect", "pruning", "./net.py:Net", "--input", "3,8,8")
    assert code == 0
    assert "rewritten before pruning: torchvision_vit" in out.splitlines()
    assert "never reached by the forward pass: spare" in out.splitlines()


def test_sensitivity_is_printed_and_plotted(squeeze: Run, tmp_path: Path) -> None:
    arguments = (*MODEL, *DIGITS, "--samples", "60", "--quiet", "--plot", "deep/curves.png")
    code, out, _ = squeeze("inspect", "sensitivity", *arguments, "--json")
    assert code == 0
    shown = json.loads(out)
    assert shown["metric"] == "top-1"
    curves = shown["sensitivity"]
    assert {curve["group"]: curve["channels"] for curve in curves} == GROUPS | STREAMS
    for curve in curves:
        ratios = [ratio for ratio, _ in curve["points"]]
        assert ratios == [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875]
        assert all(top1 * 60 == pytest.approx(round(top1 * 60)) for _, top1 in curve["points"])
    assert len({curve["points"][0][1] for curve in curves}) == 1
    assert (tmp_path / "deep" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def test_sensitivity_by_a_criterion_that_looks_at_images(squeeze: Run) -> None:
    code, out, err = squeeze(
        *("inspect", "sensitivity", *MODEL, *DIGITS),
        *("--samples", "20", "--importance", "taylor", "--keep", "stages.[12]*"),
    )
    assert code == 0, err
    assert out.splitlines()[-1] == (
        "top-1 in torch with this fraction of the group removed, without fine-tuning"
    )
    rows = [line for line in out.splitlines() if "%" in line]
    assert [(row.split()[0], row.count("%")) for row in rows] == [("stages.0.0.conv1", 8)]


def test_nothing_to_measure_is_an_error(squeeze: Run, tmp_path: Path) -> None:
    arguments = (*MODEL, *DIGITS, "--keep", "stages.*", "--plot", "x.png")
    code, out, err = squeeze("inspect", "sensitivity", *arguments)
    assert (code, out) == (1, "")
    assert "builtin:resnet8: no group can be pruned and scored by l2" in err
    assert "'squeeze inspect pruning' shows why" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("sensitivity", *MODEL), "Missing option '--data'"),
        (("pruning", *MODEL, "--plot", "x.png"), "No such option: --plot"),
        (("prunin", *MODEL), "No such command 'prunin'. Did you mean 'pruning'?"),
        (
            ("pruning", *MODEL, "--keep", "conv9"),
            "--keep: 'conv9' matches no layer; did you mean 'conv1'?",
        ),
        (
            ("sensitivity", *MODEL, *DIGITS, "--importance", "l3"),
            "unknown importance 'l3', allowed: ",
        ),
        (("sensitivity", *MODEL, "--data", "nowhere"), "nowhere"),
        (
            ("sensitivity", MODEL[0], *MODEL[3:], *DIGITS),
            "MODEL: has no weights: builtin:resnet8 would be measured with random ones; give "
            "--weights, or write --weights random if that is meant",
        ),
        (("pruning", "builtin:resnet9"), "builtin:resnet9: unknown builtin model 'resnet9'"),
        (("builtin:resnet9",), "builtin:resnet9: unknown builtin model 'resnet9'"),
        (
            ("pruning", "builtin:resnet8", "--arg", "x"),
            "--arg: found 'x', expected KEY=VALUE",
        ),
        (
            ("pruning", *MODEL[:3], "--input", "1,x"),
            "--input: found '1,x', expected numbers with commas between",
        ),
        (
            ("sensitivity", *MODEL, "--arg", "num_classes=7", *DIGITS),
            "set --arg num_classes=10",
        ),
        ((*MODEL, "--layout", "nhwc"), "--layout: applies to .onnx and .tflite files only"),
        (("x.onnx",), "x.onnx: no such file"),
    ],
)
def test_wrong_input_exits_with_2(
    squeeze: Run, tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    code, out, err = squeeze("inspect", *arguments)
    assert code == 2, err
    assert out == ""
    assert expected in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_the_summary_counts_layers_and_says_what_can_be_done(squeeze: Run) -> None:
    code, out, err = squeeze("inspect", *MODEL, "--json")
    assert code == 0, err
    shown = json.loads(out)
    assert squeeze("inspect", "model", *MODEL, "--json")[1] == out
    # by hand: the stem, three blocks of two 3x3 convolutions, two shortcuts, the classifier
    weights = 9 * (16 + 2 * 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64) + 16 * 32 + 32 * 64
    norms = 2 * (3 * 16 + 3 * 32 + 3 * 64)
    assert shown["params"] == weights + norms + 64 * 10 + 10
    macs = 9 * (144 * (16 + 512) + 36 * (512 + 1024) + 9 * (2048 + 4096))
    assert shown["macs"] == macs + 36 * 512 + 9 * 2048 + 640
    assert shown["layers"]["Conv2d"] == 9
    assert shown["prunable"] == {
        "groups": 7,
        "prunable_groups": 6,
        "channels": 234,
        "prunable_channels": 224,
    }
    assert shown["int8"] == {"int8": 10, "total": 10, "float": {}, "unknown": None}
    lines = squeeze("inspect", *MODEL)[1].splitlines()
    assert [line.split()[0] for line in lines] == (
        "model input layers parameters MACs pruning int8".split()  # noqa: SIM905
    )


def test_the_summary_names_what_stays_float_and_what_cannot_be_traced(
    squeeze: Run, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "class Normed(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a, self.norm, self.b = nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2)\n"
        "    def forward(self, x):\n"
        "        return self.b(self.norm(self.a(x.mean((2, 3)).repeat(1, 4))))\n"
        "class Branching(Normed):\n"
        "    def forward(self, x):\n"
        "        return super().forward(x if x.sum() > 0 else -x)\n"
    )
    code, out, err = squeeze("inspect", "./net.py:Normed", "--input", "1,4,4", "--json")
    assert code == 0, err
    found = json.loads(out)["int8"]
    assert (found["int8"], found["total"]) == (2, 2)
    assert found["float"]["norm"] == "kept in float in a network with layer norms"
    code, out, err = squeeze("inspect", "./net.py:Branching", "--input", "1,4,4")
    assert code == 0, err
    assert "not known before quantizing: " in out
