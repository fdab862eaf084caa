"""One model state on one target: time, kernels, parity and what accuracy it has."""

from squeeze.recipe.schema import Block
from squeeze.results.accuracy import AccuracyBlock, ChangeBlock, Estimate


class Latency(Block):
    """Seconds per call, measured in turns with all other states of the target.

    Attributes:
        noisy: The interquartile range is more than 10 % of the median.
        raw_s: Every timed call, in order.
    """

    median_s: float
    p95_s: float
    iqr_s: float
    calls: int
    rounds: int
    noisy: bool
    raw_s: tuple[float, ...]


class FloatKernel(Block):
    """A convolution or matrix product that runs in float."""

    name: str
    op: str
    reason: str


class KernelCoverage(Block):
    """What the runtime really runs; see ``squeeze.runtimes.base.Coverage``."""

    int8: int
    total: int
    convolutions_int8: int
    convolutions: int
    survivors: tuple[FloatKernel, ...]
    conversions: dict[str, int]


class Parity(Block):
    """Float file against torch on real samples; int8 files are judged by agreement instead.

    Attributes:
        max_difference: Largest absolute difference of an output.
        scale: Largest absolute output, to compare with.
        same_class: Share of the samples with the same prediction.
    """

    samples: int
    max_difference: float
    scale: float
    same_class: float


class Row(Block):
    """One model state on one target.

    Attributes:
        skipped: Why nothing was measured; then the figures are None.
        speedup: Baseline latency divided by this one, pair by pair.
        with_nms: The same file with decoding and suppression inside, if the target asks for it.
        decoded: Latency with decoding and suppression of boxes, of detectors.
        decoded_speedup: The ratio of those.
        peak_memory_bytes: Resident memory that a fresh process gained by loading and running it.
        made_for: The target's processor where it is not of the host's kind; the latency, speed-up
            and coverage are the host's.
    """

    state: str
    target: str
    runtime: str
    device: str
    made_for: str | None = None
    precision: str
    threads: int
    batch_size: int
    skipped: str | None = None
    artifact: str | None = None
    with_nms: str | None = None
    size_bytes: int | None = None
    accuracy: AccuracyBlock | None = None
    change: ChangeBlock | None = None
    latency: Latency | None = None
    speedup: Estimate | None = None
    decoded: Latency | None = None
    decoded_speedup: Estimate | None = None
    coverage: KernelCoverage | None = None
    parity: Parity | None = None
    peak_memory_bytes: int | None = None
