"""How figures are written in tables."""

from squeeze.report import tables
from squeeze.results import Estimate
from squeeze.tasks import reporting


def test_figures_read_like_a_person_writes_them() -> None:
    assert tables.milliseconds(0.0123456) == "12.3 ms"
    assert tables.ratio(Estimate(value=1.5, low=1.4, high=1.61)) == "1.50x [1.40, 1.61]"
    assert reporting.points(Estimate(value=0.01, low=-0.005, high=0.02)) == "-1.00 [-2.00, +0.50]"
    assert reporting.points(Estimate(value=0.0, low=0.0, high=0.0)) == "+0.00 [+0.00, +0.00]"
    assert [tables.size(n) for n in (None, 999, 999_999, 1_000_000)] == [
        "",
        "1.0 kB",
        "1000.0 kB",
        "1.00 MB",
    ]
