"""Advice in sentences: why a file is slow or big, and what to do about it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from squeeze.results import AuditedNode
from squeeze.runtimes.base import Audit

_MANY_CONVERSIONS = 0.2
_FLOAT_SHARE = 0.5
_ENDS = 4  # quantize, transpose, transpose, dequantize: the ends of a whole int8 graph
_SMALL_BYTES = 4096  # below it, scales outweigh weights
_SMOOTH = {"HardSigmoid", "HardSwish", "Sigmoid", "Gelu", "Erf", "HARD_SWISH", "LOGISTIC", "GELU"}


@dataclass(frozen=True)
class Facts:
    """What the file says about itself.

    Attributes:
        runtime: The runtime's name for sentences.
        quantizer: What quantizes a float file of this kind.
        is_quantized: Whether anything in it is quantized.
        is_half: Whether it stores float16.
        dynamic: How many convolutions and matrix products quantize their input while running.
        float_weights_bytes: Weights stored in float although a quantize node follows them.
        delegate: Name of the delegate that runs most operators, faster than built-in kernels; empty
            where the runtime has none.
        undelegated: Operators of the main graph that run outside the delegate.
    """

    runtime: str
    quantizer: str
    is_quantized: bool
    is_half: bool = False
    dynamic: int = 0
    float_weights_bytes: int = 0
    delegate: str = ""
    undelegated: tuple[str, ...] = ()


def with_advice(found: Audit, facts: Facts) -> Audit:
    """Return the audit with its last paragraph."""
    return replace(found, advice=tuple(_sentences(found, facts)))


def _sentences(found: Audit, facts: Facts) -> list[str]:
    if not found.coverage.total:
        what = "convolutions, matrix products or recurrent layers"
        return [f"It has no {what}: there is nothing to run in int8."]
    sentences = [*_speed(found, facts), *_size(found, facts)]
    if not sentences:
        return ["Nothing stands out: all convolutions and matrix products run in int8 kernels."]
    return sentences


def _speed(found: Audit, facts: Facts) -> list[str]:
    if facts.is_quantized:
        return [*_products(found, facts), *_between_products(found, facts)]
    half = f" It stores float16 and {facts.runtime} computes in float32 on this CPU."
    text = (
        f"Not quantized: everything runs in float.{half if facts.is_half else ''} squeeze quantize "
        "makes an int8 file from the torch model or bundle that this one was exported from; it "
        f"takes no exported files. What quantizes this file itself is {facts.quantizer}."
    )
    return [text]


def _products(found: Audit, facts: Facts) -> Iterator[str]:
    """Yield why convolutions and matrix products are slow."""
    coverage = found.coverage
    if coverage.survivors:
        most, count = _most(coverage.survivors)
        yield (
            f"Slow: {len(coverage.survivors)} of {coverage.total} convolutions and matrix products "
            f"run in float. Most frequent reason ({count} of them): {most}."
        )
    if coverage.slow:
        most, count = _most(coverage.slow)
        yield (
            f"Integer but slow: {len(coverage.slow)} of {coverage.total} convolutions and matrix "
            "products run in integer kernels that are slower than float ones. Most frequent reason "
            f"({count} of them): {most}."
        )
    if facts.dynamic:
        yield (
            f"Activations are quantized while running in {facts.dynamic} of {coverage.total} "
            "convolutions and matrix products: each measures its input's range first and gives its "
            "output in float. Static ranges (static_int8) avoid both."
        )


def _between_products(found: Audit, facts: Facts) -> Iterator[str]:
    """Yield what costs time between convolutions and matrix products."""
    if found.islands:
        ops = {node.op for node in found.islands}
        cure = " ReLU instead of hard-swish, SiLU or GELU avoids them." if ops & _SMOOTH else ""
        yield (
            f"Between integer operators, {len(found.islands)} run in float "
            f"({', '.join(sorted(ops))}), with conversions around them.{cure}"
        )
    conversions = sum(found.coverage.conversions.values())
    share = conversions / max(1, sum(found.operators.values()))
    if share > _MANY_CONVERSIONS and conversions > _ENDS:
        yield f"{share:.0%} of the nodes that run only convert types or layouts."
    if facts.undelegated:
        yield (
            f"{len(facts.undelegated)} of {_main(found)} operators run outside of "
            f"{facts.delegate}, in slower built-in kernels: "
            f"{', '.join(sorted(set(facts.undelegated)))}."
        )


def _size(found: Audit, facts: Facts) -> list[str]:
    if facts.float_weights_bytes:
        text = (
            f"Big: {facts.float_weights_bytes:,} bytes of weights are stored in float and "
            "quantized when the file is loaded; store them quantized (fold the weight quantizers) "
            "for a quarter of that."
        )
        return [text]
    total = sum(stored.size_bytes for stored in found.weights.values())
    in_float = sum(held.size_bytes for kind, held in found.weights.items() if kind == "float32")
    if facts.is_quantized and total > _SMALL_BYTES and in_float > _FLOAT_SHARE * total:
        return [f"Big: {in_float / total:.0%} of the weights' bytes are float32."]
    return []


def _main(found: Audit) -> int:
    """Return the operators of the main graph; only those are offered to a delegate."""
    return found.delegated[1] if found.delegated else sum(found.operators.values())


def _most(nodes: Sequence[AuditedNode]) -> tuple[str, int]:
    reasons = [node.reason for node in nodes]
    most = max(dict.fromkeys(reasons), key=reasons.count)
    return most, reasons.count(most)
