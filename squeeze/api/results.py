"""What the verbs return: typed, with ``model`` and ``files``, and ready for the next verb."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.api import saving, tables
from squeeze.core.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import nn

    from squeeze.api.files import OutputFolder
    from squeeze.data.splits import Split
    from squeeze.measure.evaluator import Predictions
    from squeeze.models.types import Model
    from squeeze.results import (
        AccuracyBlock,
        ChangeBlock,
        Epoch,
        Estimate,
        KernelCoverage,
        Latency,
        MissedGoal,
        MixedPrecisionSearch,
    )
    from squeeze.tasks.base import Task
    from squeeze.tasks.detection.nms_file import NmsFile

_MS = 1000


@dataclass(frozen=True)
class PruneResult:
    """A pruned model.

    Attributes:
        source: The model with what is known of it: its input and which channels went.
        params: Parameters that inference reads, after pruning.
        macs: Multiply-adds of one image, after pruning.
        params_before: Of the model that was given.
        macs_before: Of the model that was given.
        epochs: Of fine-tuning, if the settings have it.
        notes: What was removed, and what was left alone and why.
        missed_goal: The goal and the best that was found, where it was not reached.
    """

    source: "Model" = field(repr=False)
    params: int
    macs: int
    params_before: int
    macs_before: int
    epochs: "tuple[Epoch, ...]" = ()
    notes: tuple[str, ...] = ()
    missed_goal: "MissedGoal | None" = None

    @property
    def model(self) -> "nn.Module":
        """The pruned module in eval mode, on the CPU; train it in place and pass this result on."""
        return self.source.module

    @property
    def files(self) -> tuple[Path, ...]:
        """No files: see ``save``."""
        return ()

    def save(
        self,
        folder: str | Path,
        *,
        build: str | None = None,
        args: Mapping[str, object] | None = None,
    ) -> Path:
        """Write a bundle that ``load_bundle`` and the command line open; see ``saving.save``."""
        return saving.save(self.source, folder, build, args)

    def to_dict(self) -> dict[str, object]:
        """Return plain data."""
        return {
            "params": self.params,
            "macs": self.macs,
            "params_before": self.params_before,
            "macs_before": self.macs_before,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "notes": list(self.notes),
            "missed_goal": self.missed_goal and self.missed_goal.model_dump(mode="json"),
        }

    def to_dataframe(self) -> "DataFrame":
        """Return parameters and MACs before and after, as a ``pandas.DataFrame``."""
        return tables.dataframe(self._rows())

    def _repr_html_(self) -> str:
        return tables.html("pruned", self._rows(), self.notes)

    def _rows(self) -> list[dict[str, object]]:
        return [
            {"model": "before", "params": self.params_before, "macs": self.macs_before},
            {"model": "after", "params": self.params, "macs": self.macs},
        ]


@dataclass(frozen=True)
class TrainResult:
    """A trained model, of ``train`` or ``distill``.

    Attributes:
        source: The model with what is known of it.
        epochs: Loss and the metric on validation, in torch; the kept one is marked.
        notes: How layers of teacher and student were paired, for example.
    """

    source: "Model" = field(repr=False)
    epochs: "tuple[Epoch, ...]"
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> "nn.Module":
        """The trained module in eval mode, on the CPU."""
        return self.source.module

    @property
    def files(self) -> tuple[Path, ...]:
        """No files: see ``save``."""
        return ()

    def save(
        self,
        folder: str | Path,
        *,
        build: str | None = None,
        args: Mapping[str, object] | None = None,
    ) -> Path:
        """Write a bundle that ``load_bundle`` and the command line open; see ``saving.save``."""
        return saving.save(self.source, folder, build, args)

    def to_dict(self) -> dict[str, object]:
        """Return plain data."""
        return {"epochs": [asdict(epoch) for epoch in self.epochs], "notes": list(self.notes)}

    def to_dataframe(self) -> "DataFrame":
        """Return the epochs as a ``pandas.DataFrame``."""
        return tables.dataframe(self._rows())

    def _repr_html_(self) -> str:
        return tables.html("trained", self._rows(), self.notes)

    def _rows(self) -> list[dict[str, object]]:
        return [
            {"epoch": number} | asdict(epoch) for number, epoch in enumerate(self.epochs, start=1)
        ]


@dataclass(frozen=True)
class ExportResult:
    """A float file.

    Attributes:
        source: The model that it was exported from.
        files: The file, and the one that ends at boxes; a description lies beside each.
        runtime: The runtime that runs it.
        size_bytes: Of the file.
        difference: Largest difference of an output from torch, on random images.
        notes: What the caller should know.
        boxes: Of the file that ends at boxes: how many of its detections the raw one has too.
    """

    source: "Model" = field(repr=False)
    files: tuple[Path, ...]
    runtime: str
    size_bytes: int
    difference: float
    notes: tuple[str, ...]
    boxes: "NmsFile | None"
    _folder: "OutputFolder" = field(repr=False, compare=False)

    @property
    def model(self) -> "nn.Module":
        """The module that was exported."""
        return self.source.module

    def to_dict(self) -> dict[str, object]:
        """Return plain data."""
        return {
            "files": [str(path) for path in self.files],
            "runtime": self.runtime,
            "size_bytes": self.size_bytes,
            "difference": self.difference,
            "notes": list(self.notes),
        }

    def _repr_html_(self) -> str:
        row = self.to_dict() | {"files": ", ".join(map(str, self.files))}
        row.pop("notes")
        return tables.html("exported", [row], self.notes)


@dataclass(frozen=True)
class QuantizeResult:
    """A quantized file.

    Attributes:
        source: The float model that it was made from; with ``qat_int8`` the trained one.
        files: The file; its description lies beside it.
        runtime: The runtime that it was made for.
        scheme: What it holds.
        size_bytes: Of the file.
        coverage: Which kernels run it here; None where the scheme holds no int8.
        notes: Choices made and why, and operators that stay float.
        missed_goal: A limit that was not held, and the best that was found.
        searches: Of mixed precision.
        epochs: Of ``qat_int8``: the metric is that of the simulation.
    """

    source: "Model" = field(repr=False)
    files: tuple[Path, ...]
    runtime: str
    scheme: str
    size_bytes: int
    coverage: "KernelCoverage | None"
    notes: tuple[str, ...]
    missed_goal: "MissedGoal | None"
    searches: "tuple[MixedPrecisionSearch, ...]"
    epochs: "tuple[Epoch, ...]"
    _folder: "OutputFolder" = field(repr=False, compare=False)

    @property
    def model(self) -> "nn.Module":
        """The float module that the file was made from."""
        return self.source.module

    def to_dict(self) -> dict[str, object]:
        """Return plain data."""
        return {
            "files": [str(path) for path in self.files],
            "runtime": self.runtime,
            "scheme": self.scheme,
            "size_bytes": self.size_bytes,
            "coverage": self.coverage and asdict(self.coverage),
            "notes": list(self.notes),
            "missed_goal": self.missed_goal and self.missed_goal.model_dump(mode="json"),
            "searches": [search.model_dump(mode="json") for search in self.searches],
            "epochs": [asdict(epoch) for epoch in self.epochs],
        }

    def _repr_html_(self) -> str:
        row: dict[str, object] = {
            "file": ", ".join(map(str, self.files)),
            "runtime": self.runtime,
            "scheme": self.scheme,
            "size_bytes": self.size_bytes,
        }
        if self.coverage is not None:
            row["in int8 kernels"] = f"{self.coverage.int8} of {self.coverage.total}"
        return tables.html("quantized", [row], self.notes)


@dataclass(frozen=True)
class Evaluation:
    """The accuracy of a model, measured in the runtime that serves it.

    Attributes:
        accuracy: Top-1 and top-5, or COCO's precisions, with 95 % intervals.
        predictions: Of every sample, in the data's order: the five best classes ``(N, 5)``, or a
            list of detections.
        runtime: What ran the model; ``pytorch`` for modules.
        files: The file that was run; none of a module.
        model: The module that was run; None of a file.
        notes: Why the figures may say nothing, and how the data was read.
        samples: What was measured on, for ``against``.
        task: Reads and scores the outputs, for ``against``.
    """

    accuracy: "AccuracyBlock"
    predictions: "Predictions" = field(repr=False)
    runtime: str
    files: tuple[Path, ...]
    model: "nn.Module | None" = field(repr=False)
    notes: tuple[str, ...]
    samples: "Split" = field(repr=False, compare=False)
    task: "Task" = field(repr=False, compare=False)

    def against(self, before: "Evaluation") -> "ChangeBlock":
        """Return the change from another model on the same samples, with its paired interval.

        Args:
            before: The evaluation of the model to compare with.

        Raises:
            InputError: It was made on other samples.
        """
        if before.samples.fingerprint != self.samples.fingerprint:
            raise InputError(
                "was made on other samples, so that nothing can be paired",
                where="before",
                hint="evaluate both models on the same data, without random augmentation",
            )
        return self.task.compare(before.predictions, self.predictions, self.samples)

    def to_dict(self) -> dict[str, object]:
        """Return plain data, without the predictions."""
        return {
            "runtime": self.runtime,
            "files": [str(path) for path in self.files],
            "accuracy": self.accuracy.model_dump(mode="json"),
            "notes": list(self.notes),
        }

    def to_dataframe(self) -> "DataFrame":
        """Return a row per metric, with its 95 % interval, as a ``pandas.DataFrame``."""
        return tables.dataframe(self._rows())

    def _repr_html_(self) -> str:
        title = f"{self.accuracy.samples} samples, {self.runtime}"
        return tables.html(title, self._rows(), self.notes)

    def _rows(self) -> list[dict[str, object]]:
        return [
            {"metric": name, "value": figure.value, "low": figure.low, "high": figure.high}
            for name, figure in self.accuracy.figures.items()
        ]


@dataclass(frozen=True)
class TimedModel:
    """One of the models of a benchmark.

    Attributes:
        speedup: The first model's median latency divided by this one's, with its 95 % interval.
    """

    name: str
    runtime: str
    size_bytes: int
    latency: "Latency"
    speedup: "Estimate"


@dataclass(frozen=True)
class Benchmark:
    """Latencies that were measured interleaved; the first model is the baseline.

    Attributes:
        models: In the order given.
        threads: Inside one operator.
        batch_size: Images per call.
        files: Those that were timed; those of modules are gone.
        notes: Which figures are noisy or leave decoding out.
    """

    models: tuple[TimedModel, ...]
    threads: int
    batch_size: int
    files: tuple[Path, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Return plain data, with every timed call."""
        return {
            "threads": self.threads,
            "batch_size": self.batch_size,
            "models": [
                {
                    "name": one.name,
                    "runtime": one.runtime,
                    "size_bytes": one.size_bytes,
                    "latency": one.latency.model_dump(mode="json"),
                    "speedup": one.speedup.model_dump(mode="json"),
                }
                for one in self.models
            ],
            "notes": list(self.notes),
        }

    def to_dataframe(self) -> "DataFrame":
        """Return a row per model as a ``pandas.DataFrame``; latencies in milliseconds."""
        return tables.dataframe(self._rows())

    def _repr_html_(self) -> str:
        title = f"{self.threads} thread(s), batch {self.batch_size}, interleaved"
        return tables.html(title, self._rows(), self.notes)

    def _rows(self) -> list[dict[str, object]]:
        return [
            {
                "model": one.name,
                "runtime": one.runtime,
                "size_bytes": one.size_bytes,
                "median_ms": _MS * one.latency.median_s,
                "p95_ms": _MS * one.latency.p95_s,
                "speedup": one.speedup.value,
                "low": one.speedup.low,
                "high": one.speedup.high,
            }
            for one in self.models
        ]
