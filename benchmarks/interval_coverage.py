"""How often intervals of average precision hold the truth: a detector whose truth is known.

    python benchmarks/interval_coverage.py --output benchmarks/results/interval_coverage.md

Two detectors see drawn scenes; what they find depends on how hard an image is, so that errors come
together. Their true mAP and AP50 are those of many scenes. Small sets of scenes are drawn again and
again, and it is counted how often the interval of a figure, and of the paired difference, holds the
truth. Beside squeeze's intervals stand percentiles of the same draws.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pages import made

from squeeze.core.boxes import Boxes, Detections
from squeeze.results import Estimate
from squeeze.tasks.detection import bootstrap

CLASSES = 3
MANY = 8000
UNSURE = -0.3
SIZES = (20, 72, 300)
FIGURES = ("mAP", "AP50", "change of mAP", "change of AP50")
HELD, BELOW, ABOVE = "holds", "below", "above"


def scene(rng: np.random.Generator) -> tuple[Boxes, Detections, Detections]:
    """Draw boxes, and what the better and the worse detector find of them."""
    hardness = rng.normal()
    count = int(rng.poisson(4))
    corners = rng.uniform(0, 400, (count, 2))
    truth = Boxes.of(
        np.concatenate([corners, corners + rng.uniform(20, 120, (count, 2))], axis=1),
        rng.choice(CLASSES, count, p=(0.6, 0.3, 0.1)),
    )
    clear = rng.normal(1.2 + 0.7 * hardness, 1.0, count)
    shift = rng.normal(0, 0.06, (count, 4))
    false_corners = rng.uniform(0, 400, (int(rng.poisson(4)), 2))
    false_boxes = np.concatenate(
        [false_corners, false_corners + rng.uniform(20, 120, false_corners.shape)], axis=1
    )
    false_clear = rng.normal(-0.8, 1.0, len(false_boxes))
    false_classes = rng.integers(0, CLASSES, len(false_boxes))

    def seen(loss: float) -> Detections:
        sure = clear - loss + rng.normal(0, 0.35, count)
        found = sure > UNSURE
        sides = (truth.xyxy[:, 2:] - truth.xyxy[:, :2])[:, [0, 1, 0, 1]]
        moved = truth.xyxy + (shift + rng.normal(0, 0.02, shift.shape)) * sides
        score = np.concatenate([sure[found], false_clear + rng.normal(0, 0.3, len(false_boxes))])
        return Detections.of(
            np.concatenate([moved[found], false_boxes]),
            1 / (1 + np.exp(-score)),
            np.concatenate([truth.classes[found], false_classes]),
        )

    return truth, seen(0.0), seen(0.15)


def both(rng: np.random.Generator, images: int) -> tuple[bootstrap.Draws, bootstrap.Draws]:
    """Score the two detectors on the same drawn scenes."""
    truth, first, second = zip(*(scene(rng) for _ in range(images)), strict=True)
    return (
        bootstrap.draw(first, truth, CLASSES),
        bootstrap.draw(second, truth, CLASSES),
    )


def figures(pair: tuple[bootstrap.Draws, bootstrap.Draws]) -> NDArray[np.float64]:
    """Return the values of ``FIGURES`` ``(4,)``."""
    first, second = pair
    own = np.array([first.map, first.ap50])
    return np.concatenate([own, own - np.array([second.map, second.ap50])])


def intervals(
    pair: tuple[bootstrap.Draws, bootstrap.Draws],
) -> Iterator[tuple[Estimate, tuple[float, float]]]:
    """Yield squeeze's estimate of every figure and the percentiles of its draws."""
    first, second = pair
    drawn = np.concatenate([first.drawn, first.drawn - second.drawn], axis=1)
    for place, estimate in enumerate((*first.estimates(), *first.drops_to(second))):
        low, high = np.percentile(drawn[:, place], [2.5, 97.5])
        yield estimate, (float(low), float(high))


def place(truth: float, low: float, high: float) -> str:
    """Tell where the truth lies."""
    return BELOW if truth < low else ABOVE if truth > high else HELD


def main() -> None:
    """Draw, count, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=400, help="drawn sets of each size")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    truths = np.mean([figures(both(rng, MANY // 4)) for _ in range(4)], axis=0)
    lines = [
        "# How often intervals of average precision hold the truth",
        "",
        f"`python benchmarks/interval_coverage.py --sets {arguments.sets}`",
        "",
        f"{made(('numpy', 'scipy'))}:",
        "",
        f"Drawn scenes with {CLASSES} classes and four boxes each; the truth is that of {MANY:,}",
        f"scenes. Of {arguments.sets} sets of each size, how often the 95 % interval holds it",
        "(how often it lies below it, above it). A change is that between two detectors on",
        "the same scenes.",
        "",
        "| images | figure | squeeze | percentiles of the same draws | mean bias |",
        "|---|---|---|---|---|",
    ]
    for images in SIZES:
        counts = [(Counter[str](), Counter[str]()) for _ in FIGURES]
        off = np.zeros(len(FIGURES))
        for _ in range(arguments.sets):
            pair = both(rng, images)
            off += (figures(pair) - truths) / arguments.sets
            for number, (ours, percentiles) in enumerate(intervals(pair)):
                counts[number][0][place(truths[number], ours.low, ours.high)] += 1
                counts[number][1][place(truths[number], *percentiles)] += 1
        for number, name in enumerate(FIGURES):
            shown = [
                f"{each[HELD] / arguments.sets:.1%} ({each[BELOW] / arguments.sets:.1%}, "
                f"{each[ABOVE] / arguments.sets:.1%})"
                for each in counts[number]
            ]
            lines.append(f"| {images} | {name} | {' | '.join(shown)} | {100 * off[number]:+.2f} |")
            print(lines[-1], flush=True)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
