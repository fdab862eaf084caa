"""Plots as files."""

from pathlib import Path

from squeeze.report import plots


def test_plots_take_layers_names_for_text(tmp_path: Path) -> None:
    names = ["a$\\frac$", "_hidden", "\x1b[31m\u202ex"]
    plots.sensitivity([(name, [(0.1, 0.9), (0.5, 0.4)]) for name in names], tmp_path / "s.png")
    plots.layers([(name, 30.0, 0.9) for name in names], tmp_path / "l.png")
    assert (tmp_path / "s.png").stat().st_size > 1000
    assert (tmp_path / "l.png").stat().st_size > 1000
