"""Detectors of the DETR family from transformers, as raw detectors: queries in, queries out.

They are made from a configuration, or from a folder that transformers saved; nothing is downloaded.
"""

import builtins
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch  # noqa: TID253  (a model's file is imported only to build the model)
from torch import nn  # noqa: TID253

from squeeze.core.detector import DetectorSpec
from squeeze.core.output import redirect_output
from squeeze.models.adapters.base import Foreign
from squeeze.models.detectors import transformers_layers

if TYPE_CHECKING:
    from torch import Tensor

WITH_BACKGROUND = ("detr", "yolos")
"""Model types whose last column of the class logits means "nothing"."""

WITHOUT_BACKGROUND = ("conditional_detr", "d_fine", "deformable_detr", "rt_detr", "rt_detr_v2")

KNOWN = (*WITH_BACKGROUND, *WITHOUT_BACKGROUND)

_MAX_DETECTIONS = 100
_SHOWN = 3
_OF_A_FILE = ("architectures", "dtype", "model_type", "transformers_version")
"""What a saved configuration says about the file rather than about the model."""
_OF_A_BACKBONE = ("backbone", "backbone_kwargs", "use_pretrained_backbone", "use_timm_backbone")
"""How configurations of earlier versions name a backbone instead of describing it."""
_FETCHED = (
    "attn_implementation",
    "_attn_implementation",
    "experts_implementation",
    "auto_map",
    "custom_pipelines",
    "quantization_config",
    "trust_remote_code",
    "use_kernels",
)
"""What makes transformers import code or kernels that a configuration names."""


class Queries(nn.Module):
    """A DETR-like model, ``(N, 3, H, W)`` to class logits and boxes of its Q queries.

    Attributes:
        detector: How the outputs are read.
    """

    def __init__(self, detr: Foreign, detector: DetectorSpec) -> None:
        super().__init__()
        self.detr = detr
        self.detector = detector
        transformers_layers.adapt_(self)

    def forward(self, images: "Tensor") -> "tuple[Tensor, Tensor]":
        """Return class logits ``(N, Q, columns)`` and boxes ``(N, Q, 4)``, shares of the input."""
        with _exportable(type(self.detr).__module__):
            found = self.detr(pixel_values=images)
        return found.logits, found.pred_boxes


def build(name: str, args: Mapping[str, object]) -> Queries:
    """Build a detector from its configuration.

    Args:
        name: The model type, one of ``KNOWN``.
        args: Values of its configuration: ``num_labels`` (classes, without a background),
            ``backbone_config`` (with a ``model_type``), ``d_model`` and so on.

    Raises:
        ValueError: Unknown model type, or a key that its configuration does not have.
    """
    from transformers import AutoModelForObjectDetection

    if name not in KNOWN:
        raise ValueError(f"unknown model type '{name}', allowed: {', '.join(KNOWN)}")
    config = _config(name, args, {})
    with redirect_output(None):
        return _wrapped(AutoModelForObjectDetection.from_config(config))


def load(folder: Path, args: Mapping[str, object]) -> tuple[Queries, str, dict[str, object]]:
    """Load what transformers saved with ``save_pretrained``.

    Args:
        folder: Holds ``config.json`` and ``model.safetensors``.
        args: Values of the configuration to change; with another ``num_labels`` the layers that
            depend on it start untrained.

    Returns:
        The detector, and the model type and arguments with which ``build`` makes it again.

    Raises:
        ValueError: The folder holds another kind of model, or tensors that do not fit.
        OSError: It cannot be read.
    """
    from transformers import AutoModelForObjectDetection

    name, saved = _saved(folder)
    config = _config(name, args, saved)
    with redirect_output(None):
        detr, loading = AutoModelForObjectDetection.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes="num_labels" in args,
            output_loading_info=True,
        )
    unmatched = {*loading["missing_keys"], *loading["unexpected_keys"]}
    wrong = sorted(key for key in unmatched if not key.endswith("num_batches_tracked"))
    if wrong:
        more = ", …" if len(wrong) > _SHOWN else ""
        named = ", ".join(wrong[:_SHOWN])
        raise ValueError(
            f"{len(wrong)} tensors are only in the model or only in the file: {named}{more}"
        )
    values = config.to_diff_dict()
    kept = {key: value for key, value in values.items() if key not in _OF_A_FILE}
    return _wrapped(detr), name, kept


def _saved(folder: Path) -> tuple[str, dict[str, object]]:
    """Return the model type of a folder, and its configuration without what names code.

    Raises:
        ValueError: It holds another kind of model.
        OSError: It cannot be read.
    """
    saved = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not isinstance(saved, dict):
        raise ValueError(f"its config.json holds a {type(saved).__name__}, expected a mapping")  # noqa: TRY004
    name = str(saved.get("model_type"))
    if name not in KNOWN:
        raise ValueError(f"holds a {name}, allowed: {', '.join(KNOWN)}")
    if (folder / "adapter_config.json").exists():
        raise ValueError("has an adapter_config.json, which names another model: merge it first")
    dropped = (*_OF_A_FILE, *_FETCHED)
    return name, {key: value for key, value in saved.items() if key not in dropped}


def _config(name: str, args: Mapping[str, object], saved: Mapping[str, object]) -> Foreign:
    """Return a configuration for which nothing is looked up on a server."""
    from transformers import AutoConfig

    allowed = {*AutoConfig.for_model(name).to_dict(), *_OF_A_BACKBONE, "num_labels"}
    unknown = sorted(set(args) - allowed)
    if unknown:
        raise ValueError(f"the configuration of {name} has no {', '.join(unknown)}")
    values: dict[str, Foreign] = {**saved, **args}
    classes = values.pop("num_labels", None)
    backbone, settings = (values.get(key) for key in ("backbone", "backbone_kwargs"))
    if backbone and values.get("backbone_config") is None:
        own = {"model_type": "timm_backbone", "backbone": backbone, "out_indices": [1, 2, 3, 4]}
        values["backbone_config"] = own | (settings or {})
    local = {key: value for key, value in values.items() if key not in _OF_A_BACKBONE}
    _refuse_fetching(local)
    config = AutoConfig.for_model(name, **local)
    if classes is not None:
        config.num_labels = classes  # which renames the classes too
    return config


def _refuse_fetching(values: object) -> None:
    """Refuse a configuration by which something would be downloaded, or code of others run.

    Raises:
        ValueError: With the key.
    """
    for key, value in values.items() if isinstance(values, dict) else ():
        if key in _FETCHED and value:
            raise ValueError(f"{key} would run code that the configuration names: leave it out")
        if key in {"backbone", "architecture"} and isinstance(value, str) and _is_address(value):
            raise ValueError(f"backbone {value} would be downloaded: give its backbone_config")
        _refuse_fetching(value)


def _is_address(name: str) -> bool:
    """Tell a server's or a folder's name from that of a model in timm."""
    return not {":", "/", "\\"}.isdisjoint(name)


def _wrapped(detr: Foreign) -> Queries:
    config = detr.config
    has_background = config.model_type in WITH_BACKGROUND
    queries = int(getattr(config, "num_queries", 0) or config.num_detection_tokens)
    spec = DetectorSpec(
        "detr",
        config.num_labels,
        background=config.num_labels if has_background else None,
        scores="softmax" if has_background else "sigmoid",
        score_threshold=0.0,
        candidates=queries,
        nms="none",
        max_detections=min(queries, _MAX_DETECTIONS),
    )
    return Queries(detr, spec).eval()


@contextlib.contextmanager
def _exportable(module: str) -> "Iterator[None]":
    """While a model is exported, put two functions of its file aside.

    RT-DETR's forward calls ``len(tensor)``, which Python makes a number: the exported file would
    take the example's batch only. Later models check tensors of sizes, for which ONNX has no
    operator.
    """
    if not torch.compiler.is_exporting():
        yield
        return
    names = vars(sys.modules[module])
    ours = {"len": _length, "torch_compilable_check": _no_check}
    before = {name: names[name] for name in ours if name in names}
    names.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del names[name]
        names.update(before)


def _length(of: Foreign) -> Foreign:
    """Return the length of something, which is a symbol while exporting."""
    return of.shape[0] if torch.is_tensor(of) else builtins.len(of)


def _no_check(*checked: object) -> None:
    del checked
