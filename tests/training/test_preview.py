"""The contact sheet."""

from PIL import ImageChops

from squeeze.data.sets import Data
from squeeze.recipe.schema import Augment, TrainSettings
from squeeze.training.preview import contact_sheet, label_text


def test_labels_are_names_or_shares() -> None:
    assert label_text(1, ["ant", "bee", "cat"]) == ["bee"]
    assert label_text([0.25, 0.0, 0.75], ["ant", "bee", "cat"]) == ["cat 0.75", "ant 0.25"]


def test_a_sheet_is_the_seeds_and_changes_with_the_augmentation(digits: Data) -> None:
    assert digits.train is not None
    plain = TrainSettings(epochs=1, batch_size=8)
    mixed = TrainSettings(epochs=1, batch_size=8, augment=Augment(cutmix=1.0))
    sheets = [
        contact_sheet(digits.train, settings, seed=0, images=12)
        for settings in (plain, plain, mixed)
    ]
    assert sheets[0].size == (4 * 120 + 8, 3 * 144 + 8)
    assert ImageChops.difference(sheets[0], sheets[1]).getbbox() is None
    assert ImageChops.difference(sheets[0], sheets[2]).getbbox() is not None


def test_long_names_are_cut_and_shares_stay() -> None:
    from PIL import Image, ImageDraw

    from squeeze.training import preview

    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    names = ["a very long name of a class indeed", "b"]
    (whole,) = preview._lines(0, names, draw)
    assert whole.startswith("a very")
    assert whole.endswith("…")
    first, second = preview._lines([0.7, 0.3], names, draw)
    assert first.endswith("… 0.70")
    assert second == "b 0.30"
