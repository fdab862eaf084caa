"""The whole recipe."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from squeeze.core import plugins, tasks
from squeeze.recipe.schema.base import Block, Count, Flag, Name, Seed
from squeeze.recipe.schema.distill import DistillStep
from squeeze.recipe.schema.gates import Confidence, Gate, OnInconclusive
from squeeze.recipe.schema.inputs import DataBlock, ModelBlock
from squeeze.recipe.schema.prune import PruneStep
from squeeze.recipe.schema.quantize import Quantize
from squeeze.recipe.schema.training import BaselineBlock

Step = Annotated[PruneStep | DistillStep | Quantize, Field(discriminator="method")]


class Target(Block):
    """A runtime that will serve the model.

    Attributes:
        runtime: Name of a runtime (``squeeze list runtimes``).
        name: What reports and gates call the target; the runtime's name when left out, with
            ``-cuda`` on a GPU. Two targets need two names.
        device: Where the runtime runs.
        cpu: The processor that will serve the model. It decides how int8 files are made and whether
            fp16 is used in arithmetic or only for storage. Files are measured on this machine all
            the same; if its processor is another one, reports say so, and gates on latency and int8
            coverage are not measurable here.
        threads: Threads inside one operator.
        batch_size: Images per call; each number of a list is measured.
        precision: What the shipped model must hold there; ``auto`` takes what the steps made.
        nms: For detectors in ONNX Runtime: beside every file write another one, ``*.nms.onnx``,
            whose outputs are boxes, with decoding and suppression inside. The raw file is the one
            that is measured.
        if_available: Where the target cannot run, skip it, with a row in the report that says so.
    """

    runtime: str
    name: Name | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    cpu: Literal[
        "host", "x86_avx2", "x86_avx512", "x86_vnni", "x86_fp16", "arm64", "arm64_fp16"
    ] = "host"
    threads: Count = 1
    batch_size: Count | Annotated[tuple[Count, ...], Field(min_length=1)] = 1
    precision: Literal["auto", "fp32", "fp16", "bf16", "int8"] = "auto"
    nms: Flag = False
    if_available: Flag = False

    @property
    def label(self) -> str:
        """The name that reports and gates use."""
        return self.name or (self.runtime if self.device == "cpu" else f"{self.runtime}-cuda")

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """All batch sizes."""
        return (self.batch_size,) if isinstance(self.batch_size, int) else self.batch_size


def _no_flag(value: object) -> object:
    if isinstance(value, bool | float):  # true == 1 == 1.0 in Python, but not in a recipe
        raise ValueError(f"found {value!r}, allowed: 1")  # noqa: TRY004  (pydantic wants this type)
    return value


def _known_task(name: str) -> str:
    """Refuse a name that no task has; tasks of other packages are known by their entry points."""
    known = plugins.names(plugins.TASKS)
    if name not in known:
        expected = {"expected": ", ".join(sorted(known))}
        raise PydanticCustomError("literal_error", "Input should be {expected}", expected)
    return name


def _list_tasks_(schema: JsonDict) -> None:
    """Put the tasks that there are into the published schema."""
    schema["enum"] = list(plugins.names(plugins.TASKS))


class Recipe(Block):
    """The whole recipe, version 1.

    Attributes:
        version: Version of the recipe format.
        name: Name of the run folder: letters, digits, ``_``, ``.`` and ``-``, beginning with a
            letter or digit.
        seed: Seed of everything random: new weights, batches, drawn samples.
        task: What the model does; it decides labels, losses, metrics and gates.
        model: The model to compress.
        data: The sets that it is trained, calibrated and measured on.
        baseline: How to train the model first, if it does not come trained.
        steps: What is done to the model, in this order. Without any, only the baseline is measured.
        targets: The runtimes to measure on.
        gates: Limits that the final model must meet.
        confidence: Of the intervals that gates are decided by: a gate passes where the whole
            interval lies within its limit, fails where it lies beyond, and is inconclusive else.
        on_inconclusive: What an inconclusive gate does: warn (the run still passes), fail the run,
            or pass without a word.
    """

    version: Annotated[Literal[1], BeforeValidator(_no_flag)]
    name: Name
    seed: Seed = 0
    task: Annotated[str, AfterValidator(_known_task), Field(json_schema_extra=_list_tasks_)] = (
        tasks.DEFAULT
    )
    model: ModelBlock
    data: DataBlock
    baseline: BaselineBlock | None = None
    steps: tuple[Step, ...] = ()
    targets: Annotated[tuple[Target, ...], Field(min_length=1)]
    gates: tuple[Gate, ...] = ()
    confidence: Confidence = 0.95
    on_inconclusive: OnInconclusive = "warn"
