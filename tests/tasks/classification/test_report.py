"""What reports show of classification."""

from squeeze.results import (
    ClassChange,
    ClassificationAccuracy,
    ClassificationChange,
    ClassificationPicture,
    ConfusionChange,
    DetectionPicture,
    Estimate,
    Row,
)
from squeeze.tasks import report_of

REPORT = report_of("classification")


def at(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.01, high=value + 0.01)


BASELINE = ClassificationAccuracy(samples=200, top1=at(0.9), top5=at(0.98))
AFTER = ClassificationAccuracy(samples=200, top1=at(0.88), top5=at(0.97))
CHANGE = ClassificationChange(
    drop=at(0.02), top5_drop=at(0.01), agreement=at(0.955), regressions=7, fixes=3
)


def measured(model: str, change: ClassificationChange | None) -> Row:
    return Row(
        model=model,
        target="onnxruntime",
        runtime="onnxruntime",
        device="cpu",
        precision="fp32",
        threads=1,
        batch_size=1,
        change=change,
    )


def test_a_row_has_a_cell_for_every_column() -> None:
    first = dict(zip(REPORT.COLUMNS, REPORT.cells(BASELINE, None), strict=True))
    assert first == {
        "Top-1": "90.00%",
        "95 % interval": "89.0% to 91.0%",
        "Samples": "200",
        "Top-5": "98.00%",
        "Change, points": "",
        "Agreement": "",
    }
    last = dict(zip(REPORT.COLUMNS, REPORT.cells(AFTER, CHANGE), strict=True))
    assert (last["Change, points"], last["Agreement"]) == ("-2.00 [-3.00, -1.00]", "95.5%")


def test_the_headline_is_top_1_and_the_agreement() -> None:
    assert REPORT.headline(BASELINE, AFTER, CHANGE) == (
        ("Top-1", "90.00 % → 88.00 % (-2.00 [-3.00, -1.00] points)"),
        ("Agreement with the baseline", "same class for 95.5% of 200 samples"),
    )


def test_images_say_whether_they_are_regressions_or_fixes() -> None:
    worse = ClassificationPicture(name="a", label="cat", baseline="cat", candidate="dog", png="x")
    better = worse.model_copy(update={"baseline": "dog", "candidate": "cat"})
    (gallery,) = REPORT.galleries([worse, better])
    assert gallery.title == "Regressions and fixes"
    assert [image.caption[0][0] for image in gallery.images] == [
        ("Regression", "bad"),
        ("Fix", "good"),
    ]
    assert gallery.images[0].caption[2:] == (
        (("baseline: ", ""), ("cat", "good")),
        (("final: ", ""), ("dog", "bad")),
    )
    boxed = DetectionPicture(name="a", objects=1, baseline="", candidate="", png="x")
    assert REPORT.galleries([boxed]) == []
    assert REPORT.sections([]) == []


def test_the_class_that_lost_most_comes_first_and_the_rest_is_counted() -> None:
    lost = tuple(
        ClassChange(name=f"class {n}", samples=10, before=9, after=8, drop=at(0.1))
        for n in range(20)
    )
    pairs = (ConfusionChange(label="cat", predicted="dog", before=1, after=4),)
    change = CHANGE.model_copy(update={"per_class": lost, "confusions": pairs})
    before = measured("baseline", None)
    by_class, confused = REPORT.sections([(before, measured("1-quantize", change))])
    (table,) = by_class.tables
    assert table.title == "onnxruntime, batch 1: baseline → 1-quantize"
    assert table.rows[0] == ("class 0", "10", "9 (90.0%)", "8 (80.0%)", "-10.00 [-11.00, -9.00]")
    assert len(table.rows) == 16
    assert table.rows[-1][0] == "5 more in results.json"
    assert confused.tables[0].rows == (("cat", "dog", "1", "4"),)
    assert REPORT.sections([(before, measured("1-quantize", CHANGE))]) == []
