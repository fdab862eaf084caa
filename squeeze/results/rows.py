"""One model on one target: accuracy, latency, kernels, parity."""

from dataclasses import dataclass

from squeeze.recipe.schema import Block
from squeeze.results.accuracy import AccuracyBlock, ChangeBlock, Estimate


class Latency(Block):
    """Seconds per call, measured interleaved with all other models of the target.

    Attributes:
        median_s: Median, in seconds.
        p95_s: 95th percentile, in seconds.
        iqr_s: Interquartile range, in seconds.
        calls: Number of calls that were timed.
        rounds: Number of rounds; each of them times every model of the target.
        noisy: The interquartile range is more than 10 % of the median.
        raw_s: Every timed call, in seconds and in order.
    """

    median_s: float
    p95_s: float
    iqr_s: float
    calls: int
    rounds: int
    noisy: bool
    raw_s: tuple[float, ...]


@dataclass(frozen=True)
class AuditedNode:
    """An operator that runs in no fast int8 kernel.

    Attributes:
        name: In the file.
        op: Its kind: ``Conv``, for example.
        reason: Why it does not.
    """

    __pydantic_config__ = Block.model_config

    name: str
    op: str
    reason: str


@dataclass(frozen=True)
class KernelCoverage:
    """Which kernels the runtime uses, in branches and loop bodies too.

    Attributes:
        int8: Convolutions, matrix products and recurrent layers in optimised int8 kernels.
        total: All of them: those in int8 kernels, the survivors and the slow ones.
        survivors: Those in float.
        conversions: Count of quantize, dequantize and layout nodes, by operator.
        convolutions: ``(int8, total)`` of convolutions alone.
        slow: Those in integers, but in kernels that are not optimised for this processor.
    """

    __pydantic_config__ = Block.model_config

    int8: int
    total: int
    survivors: tuple[AuditedNode, ...]
    conversions: dict[str, int]
    convolutions: tuple[int, int]
    slow: tuple[AuditedNode, ...] = ()

    @property
    def fraction(self) -> float:
        """Share in optimised int8 kernels, [0, 1]."""
        return self.int8 / self.total if self.total else 0.0


class Parity(Block):
    """Float file against torch on real samples; int8 files are compared by agreement instead.

    Attributes:
        samples: Number of samples that were compared.
        max_difference: Largest absolute difference of an output.
        scale: Largest absolute output, to compare with.
        same_class: Share of the samples with the same prediction.
    """

    samples: int
    max_difference: float
    scale: float
    same_class: float


class LayerTime(Block):
    """A layer that takes longer in the quantized file than in the float one, beyond noise.

    Attributes:
        name: The operator's name in the float file.
        seconds: Median of one run of the quantized file's operator, in seconds.
        float_seconds: Median of one run of the float file's operator, in seconds.
    """

    name: str
    seconds: float
    float_seconds: float


class Provenance(Block):
    """When and where figures were measured.

    Attributes:
        measured_at: ISO 8601, UTC.
        machine: The processor's name.
        cores: Its logical cores.
        load_average: Of the minute before.
        reused_from: The earlier run that measured them; None if this run did.
    """

    measured_at: str
    machine: str
    cores: int
    load_average: float
    reused_from: str | None = None


class Row(Block):
    """One model on one target.

    Attributes:
        model: Name of the model.
        target: Name of the target.
        runtime: Name of the runtime.
        device: ``cpu`` or ``cuda``.
        made_for: The target's processor where this host's is another one; the latency, the speed-up
            and the kernel coverage are the host's.
        precision: What the file holds: ``fp32``, ``fp16``, ``bf16`` or ``int8``.
        threads: Threads inside one operator.
        batch_size: Images per call.
        skipped: Why nothing was measured; then the figures are None.
        artifact: Path of the file or bundle in the run folder.
        with_nms: Path of the same file with decoding and suppression inside, if the target asks for
            it.
        size_bytes: Size of that file, in bytes.
        accuracy: Accuracy of that file on the whole validation set.
        change: Against the baseline on the same target.
        latency: What an application waits for; for detectors with decoding and suppression.
        speedup: The baseline's median latency divided by this one's; the interval is from rounds in
            which both were timed.
        network_latency: For detectors: latency of the network alone, without decoding.
        network_speedup: For detectors: the ratio of these latencies.
        over_float: For a quantized file: the latency of the float file that it was made from,
            divided by this one's, from the same rounds.
        slow_layers: For a quantized file that is slower than that float file: the layers that
            cause it, worst first; None where it is not slower or the runtime gives no layer times.
        coverage: Which kernels the runtime uses; None where it cannot say.
        parity: For a float file: how close it is to torch.
        provenance: When and where all this was measured.
        peak_memory_bytes: Resident memory that a fresh process gained by loading and running it.
    """

    model: str
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
    network_latency: Latency | None = None
    network_speedup: Estimate | None = None
    over_float: Estimate | None = None
    slow_layers: tuple[LayerTime, ...] | None = None
    coverage: KernelCoverage | None = None
    parity: Parity | None = None
    peak_memory_bytes: int | None = None
    provenance: Provenance | None = None
