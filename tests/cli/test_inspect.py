"""``squeeze inspect``, and the recipes that the flags of ``squeeze prune`` build."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from squeeze.cli import app
from squeeze.recipe.load import LoadedRecipe, load_recipe

Answer = tuple[int, str, str]
Run = Callable[..., Answer]
MODEL = (
    *("builtin:resnet8", "--weights", "random"),
    *("--arg", "in_channels=1", "--input", "1,12,12"),
)
DIGITS = ("--data", "builtin:digits")
GROUPS = {"conv1": 16, "stages.0.0.conv1": 16, "stages.1.0.conv1": 32, "stages.2.0.conv1": 64}
STREAMS = {"stages.1.0.shortcut.0": 32, "stages.2.0.shortcut.0": 64}


@pytest.fixture
def squeeze(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run the command in this process, in an empty folder; return exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "240")

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["squeeze", *map(str, arguments)])
        capsys.readouterr()
        code: Any = 0
        try:
            app.main()
        except SystemExit as stop:
            code = stop.code
        text = capsys.readouterr()
        return code or 0, text.out, text.err

    return run


def by_layer(groups: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the groups by the layers that make their channels."""
    return {
        layer["layer"]: group
        for group in groups
        for layer in group["layers"]
        if layer["side"] == "out"
    }


def test_every_group_is_shown_with_why_it_stays(squeeze: Run) -> None:
    code, out, _ = squeeze("inspect", *MODEL, "--pruning", "--keep", "stages.2*", "--json")
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
    code, out, _ = squeeze("inspect", *MODEL, "--pruning")
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
        "class Net(nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, 1, groups=4), "
        "nn.Conv2d(8, 2, 1))\n"
        "        self.add_module('spare', nn.Linear(2, 2))\n"
        "    def forward(self, x):\n"
        "        return self[2](self[1](self[0](x)))\n"
    )
    code, out, _ = squeeze("inspect", "./net.py:Net", "--input", "3,8,8", "--pruning")
    assert code == 0
    assert "rewritten before pruning: depthwise_multiplier" in out.splitlines()
    assert "never reached by the forward pass: spare" in out.splitlines()


def test_sensitivity_is_printed_and_plotted(squeeze: Run, tmp_path: Path) -> None:
    arguments = ("--sensitivity", *DIGITS, "--samples", "60", "--quiet")
    code, out, _ = squeeze("inspect", *MODEL, *arguments, "--plot", "deep/curves.png", "--json")
    assert code == 0
    curves = json.loads(out)["sensitivity"]
    assert {curve["group"]: curve["channels"] for curve in curves} == GROUPS | STREAMS
    for curve in curves:
        ratios = [ratio for ratio, _ in curve["points"]]
        assert ratios == [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875]
        assert all(top1 * 60 == pytest.approx(round(top1 * 60)) for _, top1 in curve["points"])
    assert len({curve["points"][0][1] for curve in curves}) == 1
    assert (tmp_path / "deep" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def test_both_at_once_with_a_criterion_that_looks_at_images(squeeze: Run) -> None:
    code, out, err = squeeze(
        *("inspect", *MODEL, "--pruning", "--sensitivity", *DIGITS),
        *("--samples", "20", "--importance", "taylor", "--keep", "stages.[12]*"),
    )
    assert code == 0, err
    assert "1 of 7 groups can be pruned, with 16 of 234 channels" in out
    assert out.splitlines()[-1] == (
        "top-1 in torch with that much of the group removed, nothing trained afterwards"
    )
    rows = [line for line in out.splitlines() if "%" in line]
    assert [(row.split()[0], row.count("%")) for row in rows] == [("stages.0.0.conv1", 8)]


def test_nothing_to_measure_is_an_error(squeeze: Run, tmp_path: Path) -> None:
    arguments = ("--sensitivity", *DIGITS, "--keep", "stages.*", "--plot", "x.png")
    code, out, err = squeeze("inspect", *MODEL, *arguments)
    assert (code, out) == (1, "")
    assert "--sensitivity: no group can be pruned and scored by l2" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            MODEL,
            "squeeze inspect: say what to look at: --pruning, --sensitivity, --int8 or --layers",
        ),
        ((*MODEL, "--sensitivity"), "--sensitivity: needs --data, what top-1 is measured on"),
        ((*MODEL, "--pruning", "--plot", "x.png"), "--plot: is for --sensitivity"),
        ((*MODEL, "--pruning", *DIGITS), "--data: is for --sensitivity"),
        (
            (*MODEL, "--pruning", "--keep", "conv9"),
            "keep: 'conv9' matches no layer; did you mean 'conv1'?",
        ),
        (
            (*MODEL, "--sensitivity", *DIGITS, "--importance", "l3"),
            "unknown importance 'l3', allowed: ",
        ),
        (
            (*MODEL, "--sensitivity", "--data", "nowhere"),
            "nowhere",
        ),
        (("builtin:resnet9", "--pruning"), "builtin:resnet9: unknown builtin model 'resnet9'"),
        (("builtin:resnet8", "--pruning", "--arg", "x"), "--arg: found 'x', expected KEY=VALUE"),
        (
            (*MODEL[:3], "--input", "1,x", "--pruning"),
            "--input: found '1,x', expected numbers with commas between",
        ),
        (
            (*MODEL, "--arg", "num_classes=7", "--sensitivity", *DIGITS),
            "set model.args.num_classes: 10",
        ),
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


@pytest.fixture
def planned(squeeze: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Return the step that ``squeeze prune`` would run, after comparing it with what it saves."""
    ran: list[LoadedRecipe] = []
    monkeypatch.setattr("squeeze.cli.run.execute", lambda loaded, *_: ran.append(loaded))

    def plan(*flags: str) -> dict[str, Any]:
        validation = ("--validation", "builtin:digits", "--train", "builtin:digits")
        code, _, err = squeeze("prune", *MODEL, *validation, *flags, "--save-recipe", "r.yaml")
        assert code == 0, err
        saved = load_recipe("r.yaml").recipe
        assert saved == ran[-1].recipe
        (step,) = yaml.safe_load(Path("r.yaml").read_text())["steps"]
        return step  # type: ignore[no-any-return]

    return plan


AIMS = ("pruning_ratio", "ratios", "speedup", "macs", "params", "size")


@pytest.mark.parametrize(
    ("flags", "aim"),
    [
        ((), {"pruning_ratio": 0.3}),
        (("--pruning-ratio", "0.5"), {"pruning_ratio": 0.5}),
        (("--pruning-ratio", "0"), {"pruning_ratio": 0.0}),
        (
            ("--speedup", "1.7"),
            {"speedup": {"runtime": "onnxruntime", "at_least": 1.7, "threads": 1}},
        ),
        (
            ("--speedup", "2", "--target", "pytorch", "--target", "litert", "--threads", "2"),
            {"speedup": {"runtime": "pytorch", "at_least": 2.0, "threads": 2}},
        ),
        (("--macs", "2"), {"macs": {"times_fewer": 2.0}}),
        (("--params", "3.5"), {"params": {"times_fewer": 3.5}}),
        (("--size", "20000"), {"size": {"at_most": 20000}}),
    ],
)
def test_aim_flags_make_a_recipe(
    planned: Callable[..., dict[str, Any]], flags: tuple[str, ...], aim: dict[str, Any]
) -> None:
    step = planned(*flags)
    assert {key: step[key] for key in AIMS if key in step} == aim


def test_all_other_flags_make_a_recipe(planned: Callable[..., dict[str, Any]]) -> None:
    step = planned(
        *("--importance", "taylor", "--ranking", "global", "--rounds", "3", "--max-ratio", "0.7"),
        *("--keep", "conv1", "--keep", "BatchNorm2d", "--align", "4"),
        *("--epochs", "2", "--lr", "0.05", "--batch-size", "16"),
    )
    expected = {
        "method": "prune",
        "pruning_ratio": 0.3,
        "importance": "taylor",
        "ranking": "global",
        "rounds": 3,
        "max_ratio": 0.7,
        "keep": ["conv1", "BatchNorm2d"],
        "align": 4,
        "finetune": {"epochs": 2, "lr": 0.05, "batch_size": 16},
    }
    assert {key: step[key] for key in expected} == expected
    assert planned("--align", "auto")["align"] == "auto"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--macs", "2", "--pruning-ratio", "0.5"), "found macs, a ratio, needs exactly one of"),
        (("--speedup", "2", "--size", "5"), "found speedup, size, needs exactly one of"),
        (("--speedup", "0.9"), "--speedup: found 0.9, allowed: greater than 1"),
        (("--speedup", "0"), "--speedup: found 0.0, allowed: greater than 1"),
        (("--macs", "0"), "--macs: found 0.0, allowed: greater than 1"),
        (("--size", "0"), "--size: found 0, allowed: "),
        (("--align", "x"), "--align: found 'x', allowed: "),
        (("--align", "²"), "align: found '²', allowed: "),
        (("--align", "0"), "align: found 0, allowed: "),
        (("--importance", "taylor"), "'taylor' looks at images, which needs --train"),
        (("--epochs", "1"), "trains, which needs --train"),
        (("--ranking", "all"), "ranking: found 'all', allowed: local, global, isomorphic"),
        (("--max-ratio", "1"), "--max-ratio: found 1.0, allowed: less than 1"),
    ],
)
def test_wrong_flags_of_prune_exit_with_2(
    squeeze: Run, tmp_path: Path, flags: tuple[str, ...], expected: str
) -> None:
    code, out, err = squeeze("prune", *MODEL, "--validation", "builtin:digits", *flags)
    assert code == 2
    assert expected in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []
