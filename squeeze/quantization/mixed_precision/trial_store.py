"""A search on disk: one that was interrupted resumes from what was finished."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

import numpy as np

from squeeze.quantization.request import FileFacts, QuantizedFile
from squeeze.store import checksums, claim, key_of, new_file, sealed

if TYPE_CHECKING:
    from torch import Tensor

_PLAIN = "plain"
_START, _WEIGHTS = "start", "recovered.safetensors"


class _StartRecord(TypedDict):
    """The notes on accuracy recovery; the float file and the weights lie beside it."""

    notes: list[str]


class _TrialRecord(TypedDict):
    """A trial's file on disk."""

    layers: list[str]
    drop: float
    kept: dict[str, str]


class _SensitivityRecord(TypedDict):
    """A layer's file on disk."""

    layer: str
    sqnr_db: float


class _PlainRecord(TypedDict):
    """What ``QuantizedFile`` and its facts hold, as plain data."""

    weight_bits: int
    notes: list[str]
    ranges: object
    computed: dict[str, list[str]]
    kept: dict[str, str]
    unfit: dict[str, str]


@dataclass(frozen=True)
class StoredStart:
    """What a search starts from.

    Attributes:
        file: The float file that is quantized.
        tensors: Of the model that it was exported from, by name; none where recovery left the
            model as it was.
        notes: On accuracy recovery.
    """

    file: Path
    tensors: "dict[str, Tensor]"
    notes: tuple[str, ...]


@dataclass(frozen=True)
class StoredTrial:
    """A mixture that was made and measured.

    Attributes:
        path: Its file.
        drop: The loss of the metric against the float file, absolute.
        kept: The operators of the file that stay float, with the reason.
    """

    path: Path
    drop: float
    kept: Mapping[str, str]


@dataclass(frozen=True)
class TrialStore:
    """A folder with the start of one search and its mixtures, each a file and a record.

    Attributes:
        folder: Made with the first record.
        key: Of the search; records of another one are never used.
        suffix: Of the files.
        warn: Called with a message about every damaged record, whose work is done again.
    """

    folder: Path
    key: str
    suffix: str
    warn: Callable[[str], None]

    def start(self) -> StoredStart | None:
        """Return what was kept of recovery and the float export."""
        content = cast("_StartRecord | None", self._read(f"{_START}.json"))
        if content is None:
            return None
        from safetensors.torch import load_file

        tensors = load_file(self.folder / _WEIGHTS)
        return StoredStart(self._start_file, tensors, tuple(content["notes"]))

    def keep_start(self, start: StoredStart) -> None:
        """Keep what a search starts from; its file is copied."""
        from safetensors.torch import save

        claim(self.folder, self.key)
        with new_file(self._start_file) as inside:
            shutil.copyfile(start.file, inside)
        with new_file(self.folder / _WEIGHTS) as inside:
            inside.write_bytes(save(start.tensors))
        content: _StartRecord = {"notes": list(start.notes)}
        self._write(f"{_START}.json", content, self._start_file, self.folder / _WEIGHTS)

    @property
    def _start_file(self) -> Path:
        return self.folder / f"{_START}{self.suffix}"

    def path(self, layers: tuple[str, ...]) -> Path:
        """Return the place of the file in which these layers are float."""
        return self.folder / f"{key_of(layers)}{self.suffix}"

    def trial(self, layers: tuple[str, ...]) -> StoredTrial | None:
        """Return a trial that was kept."""
        path = self.path(layers)
        content = cast("_TrialRecord | None", self._read(f"{path.stem}.json"))
        if content is None:
            return None
        return StoredTrial(path, content["drop"], content["kept"])

    def keep_trial(self, layers: tuple[str, ...], drop: float, kept: Mapping[str, str]) -> None:
        """Keep what a mixture lost; its file is at ``path`` already."""
        path = self.path(layers)
        content: _TrialRecord = {"layers": list(layers), "drop": drop, "kept": dict(kept)}
        self._write(f"{path.stem}.json", content, path)

    def sensitivity(self, layer: str) -> float | None:
        """Return the SQNR in dB that was measured with one layer in int8."""
        content = cast("_SensitivityRecord | None", self._read(f"alone-{key_of(layer)}.json"))
        return None if content is None else content["sqnr_db"]

    def keep_sensitivity(self, layer: str, sqnr_db: float) -> None:
        """Keep the SQNR in dB that was measured with one layer in int8."""
        content: _SensitivityRecord = {"layer": layer, "sqnr_db": sqnr_db}
        self._write(f"alone-{key_of(layer)}.json", content)

    def plain(self) -> QuantizedFile | None:
        """Return what was done for the file without layers in float."""
        content = cast("_PlainRecord | None", self._read(f"{_PLAIN}.json"))
        if content is None:
            return None
        facts = FileFacts(
            ranges=_decoded(content["ranges"]),
            computed={name: frozenset(each) for name, each in content["computed"].items()},
            kept=content["kept"],
            unfit=content["unfit"],
        )
        return QuantizedFile(content["weight_bits"], tuple(content["notes"]), facts=facts)

    def keep_plain(self, made: QuantizedFile) -> None:
        """Keep what was done for it; not if a backend's ranges are of a form of its own."""
        facts, computed = made.facts, made.facts.computed or {}
        try:
            ranges = _encoded(facts.ranges)
        except TypeError:
            return
        content: _PlainRecord = {
            "weight_bits": made.weight_bits,
            "notes": list(made.notes),
            "ranges": ranges,
            "computed": {name: sorted(each) for name, each in computed.items()},
            "kept": dict(facts.kept),
            "unfit": dict(facts.unfit),
        }
        self._write(f"{_PLAIN}.json", content, self.path(()))

    def _read(self, name: str) -> object:
        """Return a record of this search; None without one, or where it is damaged."""
        place = self.folder / name
        if not place.exists():
            return None
        try:
            content = sealed.read(place, self.key)
            damage = "; ".join(checksums.faults(self.folder, content["files"] if content else {}))
        except sealed.DamagedError as error:
            content, damage = None, str(error)
        if damage:
            is_start = name == f"{_START}.json"
            again = "the float file is made" if is_start else "this trial is run"
            self.warn(f"{self.folder}: {damage}, so {again} again")
            place.unlink(missing_ok=True)
            return None
        return content

    def _write(self, name: str, content: Mapping[str, object], *files: Path) -> None:
        claim(self.folder, self.key)
        sums = checksums.of_files(self.folder, files)
        sealed.write(self.folder / name, {"key": self.key, "files": sums, **content})


def _encoded(value: object) -> object:
    """Return a backend's ranges as plain data from which ``_decoded`` restores them.

    Raises:
        TypeError: They hold something other than numbers, texts, arrays and containers of them.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        return {"array": value.tolist(), "type": str(value.dtype), "shape": list(value.shape)}
    if isinstance(value, tuple):
        return {"tuple": [_encoded(each) for each in value]}
    if isinstance(value, list):
        return [_encoded(each) for each in value]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {"dict": {name: _encoded(each) for name, each in value.items()}}
    raise TypeError(type(value).__name__)


def _decoded(value: object) -> object:
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return np.array(value["array"], value["type"]).reshape(value["shape"])
    if "tuple" in value:
        return tuple(_decoded(each) for each in value["tuple"])
    return {name: _decoded(each) for name, each in value["dict"].items()}
