"""The figures that are made of raw times."""

from squeeze.measure import latency


def test_the_figures_are_those_of_the_raw_times() -> None:
    found = latency._timing([[0.001] * 10, [0.001] * 9 + [0.004]]).latency
    assert (found.median_s, found.iqr_s, found.noisy) == (0.001, 0.0, False)
    assert (found.calls, found.rounds, max(found.raw_s)) == (20, 2, 0.004)
    assert latency._timing([[1.0, 2.0], [1.0, 2.0]]).latency.noisy
