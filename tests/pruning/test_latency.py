"""The latency table: made once, kept, and turned into a model that knows what time goes by."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from squeeze.core.types import Silent
from squeeze.models.types import Model
from squeeze.pruning import graph, groups, latency
from squeeze.pruning.cost import CostModel
from squeeze.pruning.latency import LatencyModel, Point, Table
from squeeze.pruning.ranking import Kept, Limits

Wrap = Callable[..., Model]
LIMITS = Limits(1, 0.9, {})


@pytest.fixture
def net(wrapped: Wrap) -> tuple[groups.PruningGroups, CostModel]:
    """Four layers with groups of 64, 48 and 32 channels."""
    layers = (
        nn.Conv2d(3, 64, 3, 1, 1, bias=False),
        nn.Conv2d(64, 48, 3, 2, 1, bias=False),
        nn.Conv2d(48, 32, 1, bias=False),
        nn.Conv2d(32, 4, 1, bias=False),
    )
    model = wrapped(nn.Sequential(*layers))
    found = graph.find_groups(model)
    return found, CostModel(found, model.input)


def timer(
    cost: CostModel, units: Mapping[str, int], times: "np.ndarray[tuple[int], np.dtype[np.float64]]"
) -> Callable[[Kept], float]:
    """Make a runtime whose time is a constant and a share of every layer's MACs."""

    def ratio(kept: Kept) -> float:
        shares = latency.shares_of(kept, cost.names, units)
        full = cost.macs(np.ones(len(cost.names)))
        return float(times[0] + (cost.macs(shares) / full) @ times[1:])

    return ratio


def test_a_linear_timing_is_recovered(net: tuple[groups.PruningGroups, CostModel]) -> None:
    found, cost = net
    units = {group.name: group.units for group in found.prunable}
    # far from "time goes by MACs"
    times = np.array([0.1, 0.3, 0.1, 0.45, 0.05])
    ratio = timer(cost, units, times)
    made = latency.table(found, cost, ratio, LIMITS, Silent(), tune_align=False)
    assert not made.cached
    assert made.align == 1
    assert all(point.ratio == ratio(point.kept) for point in made.points)
    model = LatencyModel(cost, made.points, units)
    assert model.error < 0.02
    assert model(np.ones(3)) == pytest.approx(1.0, abs=0.02)
    rng = np.random.default_rng(0)
    off, off_by_macs = [], []
    for _ in range(20):
        kept = {name: int(rng.integers(count // 4, count + 1)) for name, count in units.items()}
        shares = latency.shares_of(kept, cost.names, units)
        off.append(abs(model(shares) - ratio(kept)))
        macs = cost.macs(shares).sum() / cost.macs(np.ones(3)).sum()
        off_by_macs.append(abs(macs - ratio(kept)))
    # a few points leave open which of two neighbours takes the time
    assert max(off) < 0.1
    assert np.mean(off) < 0.03
    assert np.mean(off) < np.mean(off_by_macs) / 4


def test_every_group_is_timed_alone_and_all_together(
    net: tuple[groups.PruningGroups, CostModel],
) -> None:
    found, cost = net
    asked: list[Kept] = []

    def ratio(kept: Kept) -> float:
        asked.append(kept)
        return 0.5

    made = latency.table(found, cost, ratio, Limits(8, 0.5, {}), Silent(), tune_align=False)
    assert [point.kept for point in made.points] == asked
    together = [p.kept for p in made.points if p.align is not None]
    assert together == [{"0": 32, "1": 24, "2": 16}, {"0": 48, "1": 32, "2": 24}]
    alone = [p.kept for p in made.points if p.align is None]
    assert {(name, width) for kept in alone for name, width in kept.items()} == {
        ("0", 32),
        ("0", 48),
        ("1", 24),
        ("1", 32),
        ("2", 16),
        ("2", 24),
    }
    assert len(alone) == 6
    assert all(len(kept) == 1 for kept in alone)


@pytest.mark.parametrize("step", [1, 8, 16])
def test_the_alignment_of_the_runtime_is_found(
    net: tuple[groups.PruningGroups, CostModel], step: int
) -> None:
    """A runtime that pads widths to a multiple takes the time of the padded width."""
    found, cost = net
    units = {group.name: group.units for group in found.prunable}
    macs = cost.macs(np.ones(3)).sum()

    def ratio(kept: Kept) -> float:
        padded = {name: min(-(-width // step) * step, units[name]) for name, width in kept.items()}
        return float(cost.macs(latency.shares_of(padded, cost.names, units)).sum() / macs)

    made = latency.table(found, cost, ratio, LIMITS, Silent(), tune_align=True, shares=(0.5,))
    # the finest that pays for no channel it does not use, or nearly none
    assert made.align in {1: [2], 8: [8], 16: [8, 16]}[step]
    assert all(
        width % made.align == 0 for p in made.points if not p.align for width in p.kept.values()
    )


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the cache lie in the test's own folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "squeeze" / "latency"


TABLE = Table([Point({"a": 3, "b": 8}, 0.75, 8), Point({"a": 4}, 0.9)], 8)


def test_the_second_call_takes_the_file(cache: Path) -> None:
    calls = []

    def make() -> Table:
        calls.append(1)
        return TABLE

    first, second = (
        latency.cached("key", make, pytest.fail),
        latency.cached("key", make, pytest.fail),
    )
    assert (first, second) == (TABLE, Table(TABLE.points, 8, cached=True))
    assert calls == [1]
    assert [file.name for file in cache.iterdir()] == ["key.json"]
    latency.cached("other", make, pytest.fail)
    assert calls == [1, 1]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"points": []}',
        b'{"points": [], "align": 8}',
        b'{"points": [{"ratio": 1.0}], "align": 8}',
        b'{"points": [{"kept": {"a": 1}, "ratio": "fast"}], "align": 8}',
        b'{"points": [{"kept": {"a": 1}, "ratio": 0.5}], "align": "x"}',
        b'{"points": 5, "align": 8}',
    ],
)
def test_a_damaged_file_is_named_and_made_anew(cache: Path, content: bytes) -> None:
    cache.mkdir(parents=True)
    (cache / "key.json").write_bytes(content)
    said: list[str] = []
    assert latency.cached("key", lambda: TABLE, said.append) == TABLE
    assert [text.partition(": the latency table is damaged")[0] for text in said] == [
        str(cache / "key.json")
    ]
    assert json.loads((cache / "key.json").read_text())["table"]["align"] == 8
    assert latency.cached("key", lambda: TABLE, pytest.fail).cached


def test_a_time_that_was_changed_is_not_believed(cache: Path) -> None:
    latency.cached("key", lambda: TABLE, pytest.fail)
    place = cache / "key.json"
    place.write_text(place.read_text().replace("0.75", "0.25"))
    said: list[str] = []
    assert latency.cached("key", lambda: TABLE, said.append) == TABLE
    assert len(said) == 1


def test_the_cache_is_in_the_home_folder_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    latency.cached("key", lambda: TABLE, pytest.fail)
    assert (tmp_path / ".cache" / "squeeze" / "latency" / "key.json").is_file()


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert latency.cached("key", lambda: TABLE, pytest.fail) == TABLE


def test_shares_are_fractions_of_units() -> None:
    shares = latency.shares_of({"b": 2}, ["a", "b"], {"a": 4, "b": 8})
    assert shares.tolist() == [1.0, 0.25]
    assert torch.tensor(shares).dtype == torch.float64
