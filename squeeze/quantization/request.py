"""The request that every quantization backend takes, and what it returns."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.core.cpu import Cpu, host
from squeeze.core.errors import SqueezeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from squeeze.core.types import Progress
    from squeeze.data.splits import Split
    from squeeze.models.types import Model
    from squeeze.quantization.keep_float.kept import KeepFloat
    from squeeze.quantization.qat.matching import TrainedRanges
    from squeeze.recipe.schema import Quantization
    from squeeze.results import MissedGoal, MixedPrecisionSearch


@dataclass(frozen=True)
class FileFacts:
    """What a backend finds out about a float file, to be reused when it is quantized again.

    Attributes:
        ranges: Of its activations, in a form that only the backend knows, with a note on them.
        computed: Which of the module's operations each of the file's operators computes.
        kept: Operators that stay float, with the reason: the request says so, or they are unfit.
        unfit: Operators that the quantizer or the runtime cannot take in int8, with the reason.
    """

    ranges: object = None
    computed: "Mapping[str, frozenset[str]] | None" = None
    kept: "Mapping[str, str]" = field(default_factory=dict)
    unfit: "Mapping[str, str]" = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """Quantize one exported float file.

    Attributes:
        source: The float file.
        destination: The file to write.
        step: The recipe's numbers.
        calibration: Samples that set the activation ranges; schemes that set none do without.
        progress: Where the bar goes.
        log: Where the library's output goes.
        trained: Ranges from training, which replace those of calibration.
        keep_float: What stays float.
        model: The torch model that the file was exported from.
        cpu: The processor that will run the file.
        known: Facts from an earlier file of the same source, which are not looked for again.
    """

    source: Path
    destination: Path
    step: "Quantization"
    calibration: "Split | None"
    progress: "Progress"
    log: Path | None
    trained: "TrainedRanges | None" = None
    keep_float: "KeepFloat | None" = None
    known: FileFacts = field(default_factory=FileFacts)
    model: "Model | None" = None
    cpu: Cpu = field(default_factory=host)

    @property
    def samples(self) -> "Split":
        """The calibration samples.

        Raises:
            SqueezeError: There are none.
        """
        if self.calibration is None:
            raise SqueezeError("needs calibration data", where=self.step.scheme)
        return self.calibration


@dataclass(frozen=True)
class QuantizedFile:
    """What was done, for the report.

    Attributes:
        weight_bits: 7 or 8; 16 of half-precision floats.
        notes: Choices made and why.
        missed_goal: A goal that was missed; the file is the best one found.
        facts: What was found out about the float file.
        search: Of mixed precision.
    """

    weight_bits: int
    notes: tuple[str, ...]
    missed_goal: "MissedGoal | None" = None
    facts: FileFacts = field(default_factory=FileFacts)
    search: "MixedPrecisionSearch | None" = None
