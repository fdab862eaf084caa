"""Trials on disk: a search that was interrupted resumes from those that were finished."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

import numpy as np

from squeeze.quantization.request import FileFacts, QuantizedFile
from squeeze.store import checksums, claim, key_of, sealed

_PLAIN = "plain"


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
    """A folder with the mixtures of one search, each a file and a record.

    Attributes:
        folder: Made with the first record.
        key: Of the search; records of another one are never used.
        suffix: Of the files.
        warn: Called with every damaged record; its trial is run again.
    """

    folder: Path
    key: str
    suffix: str
    warn: Callable[[str], None]

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
            self.warn(f"{self.folder}: {damage}, so this trial is run again")
            place.unlink(missing_ok=True)
            return None
        return content

    def _write(self, name: str, content: Mapping[str, object], file: Path | None = None) -> None:
        claim(self.folder, self.key)
        files = checksums.of_files(self.folder, [file] if file else [])
        sealed.write(self.folder / name, {"key": self.key, "files": files, **content})


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
