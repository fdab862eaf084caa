"""A model after a step: how it was trained, what was tried, what was missed."""

from dataclasses import dataclass

from pydantic import Field

from squeeze.recipe.schema import Block
from squeeze.results.accuracy import Estimate


@dataclass(frozen=True)
class Epoch:
    """One epoch of training.

    Attributes:
        loss: Mean over the training samples.
        score: The task's metric (top-1) on validation, in torch.
        seconds: Training and validation together.
        images_per_s: Training only.
        data_wait: Share of the training's time in which it waited for data, [0, 1].
        kept: Whether the model left behind is the one of this epoch.
    """

    __pydantic_config__ = Block.model_config

    loss: float
    score: float
    seconds: float
    images_per_s: float = 0.0
    data_wait: float = 0.0
    kept: bool = False


class MissedGoal(Block):
    """A goal that a step could not reach, and the best that it found; fails the run's gates.

    Attributes:
        aim: What was asked for: ``speedup``, ``macs``, …
        limit: The limit that was set, in words.
        found: The best that was found, in words.
        hint: What to do.
    """

    aim: str
    limit: str
    found: str
    hint: str = "ask for less, raise max_ratio, or lower align"


class LayerSensitivity(Block):
    """What quantizing one layer alone costs.

    Attributes:
        layer: Its path in the module.
        sqnr_db: Signal-to-quantization-noise ratio of the model's output, in dB; at most 200.
    """

    layer: str
    sqnr_db: float


class MixedPrecisionTrial(Block):
    """One choice of layers in float that was tried.

    Attributes:
        layers: In float, besides those that the recipe keeps.
        drop: Loss of the search's metric against the float file, absolute; negative for a gain.
        latency_s: Median, taken interleaved with the other trials; of detectors with decoding.
        speedup: The float file's median latency divided by this one's, from the same rounds.
        size_bytes: Size of the file, in bytes.
        int8: Convolutions and matrix products in int8 kernels, of ``total``.
        total: All convolutions and matrix products.
        chosen: Whether this is what ships.
    """

    layers: tuple[str, ...]
    drop: float
    latency_s: float
    speedup: Estimate
    size_bytes: int
    int8: int
    total: int
    chosen: bool


class MixedPrecisionSearch(Block):
    """The search for the fewest layers in float that hold a limit, for one file.

    Attributes:
        target: The target's name.
        batch_size: Images per call.
        metric: What the loss is of: the task's figure (``top-1``, ``mAP``) or the recipe's own.
        max_drop: The limit.
        samples: Number of samples that the loss was measured on.
        source: What these samples are; never the validation set.
        met: Whether the limit is held by what ships.
        float_latency_s: Median of the float file, interleaved with the same trials.
        ranking: All layers, worst first; empty where plain int8 holds the limit.
        trials: By the number of layers in float.
        made_for: The target's processor where it is not this host's, whose latencies these are.
    """

    target: str
    batch_size: int
    metric: str
    max_drop: float
    samples: int
    source: str
    met: bool
    float_latency_s: float
    ranking: tuple[LayerSensitivity, ...]
    trials: tuple[MixedPrecisionTrial, ...]
    made_for: str | None = None


class ModelRecord(Block):
    """The model after a step.

    Attributes:
        name: ``baseline`` or ``<n>-<method>``.
        method: ``baseline`` or the step's method.
        params: Parameters of the torch module.
        macs: Multiply-adds of one image.
        seconds: Duration of the step, in seconds.
        notes: What the step reports about itself.
        epochs: Training epochs, in order, those of all rounds together.
        reused_from: The earlier run whose result is reused.
        bundle: Path of its bundle in the run folder.
        missed_goal: A goal that the step missed; the model is then the best that it found.
        searches: Searches for mixed precision, one per file.
        computed_with: Threads, processes, device and version of torch where the step was done.
    """

    name: str
    method: str
    params: int
    macs: int
    seconds: float
    notes: tuple[str, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    reused_from: str | None = None
    bundle: str | None = None
    missed_goal: MissedGoal | None = None
    searches: tuple[MixedPrecisionSearch, ...] = ()
    computed_with: dict[str, str | int] = Field(default_factory=dict)
