"""Torch module → ``.onnx``, through torch's dynamo exporter, with a dynamic batch."""

from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.core.errors import SqueezeError, cause_of
from squeeze.core.output import redirect_output
from squeeze.models.copying import copied
from squeeze.models.types import Model
from squeeze.runtimes.onnxruntime import bounds, graphs, suppression
from squeeze.store import new_file

if TYPE_CHECKING:
    from torch import Tensor, nn

_OF_DETECTORS = ["class_logits", "boxes", "centerness"]
_OF_TWO_STAGES = ["class_logits", "boxes", "proposals"]


def export(model: Model, path: Path, *, batch_size: int = 1, log: Path | None = None) -> None:
    """Write an ONNX file: input ``images`` ``(batch, C, H, W)``.

    One output is called ``logits``. Those of a detector are ``class_logits``, ``boxes`` and, where
    there is a third, ``centerness``, of two stages ``proposals``; several of anything else
    ``output_0``, ``output_1`` and so on.

    Args:
        model: What to export.
        path: The file; it appears whole or not at all.
        batch_size: Ignored, the batch is dynamic.
        log: Where the exporter's output goes.

    Raises:
        SqueezeError: The exporter cannot express the model.
    """
    del batch_size
    module = copied(model.module).eval()
    with new_file(path) as inside:
        try:
            with redirect_output(log):
                trace(module, inside, model.input.shape)
        except OSError:
            raise
        except Exception as error:
            raise SqueezeError(
                f"the ONNX exporter failed: {cause_of(error)}",
                where=model.architecture.build,
                hint=f"its full message is in {log}" if log else None,
            ) from error


def trace(module: "nn.Module", path: Path, shape: tuple[int, int, int]) -> None:
    """Write a module that is ready for inference, also a quantized one, over ``path``.

    Args:
        module: Takes ``(N, C, H, W)``.
        path: Overwritten.
        shape: ``(C, H, W)``.
    """
    import torch

    example = torch.zeros(2, *shape)
    with bounds.of_one_type():
        torch.onnx.export(
            module,
            (example,),
            path,
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=["images"],
            output_names=_names(module, example),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            custom_translation_table=suppression.translations(),
        )
    _forget_origin_(path)


def _names(module: "nn.Module", example: "Tensor") -> list[str]:
    import torch

    with torch.inference_mode():
        found = module(example)
    if torch.is_tensor(found):
        return ["logits"]
    spec = getattr(module, "detector", None)
    if spec is not None:
        return (_OF_TWO_STAGES if spec.decoder == "two_stage" else _OF_DETECTORS)[: len(found)]
    return [f"output_{number}" for number in range(len(found))]


def draft(model: Model, path: Path, *, batch_size: int) -> None:
    """Write an ONNX file for timing only, in tenths of a second, with a fixed batch.

    Torch's older exporter is quick but knows fewer operators; what ships is made by ``export``.
    """
    import torch

    example = torch.zeros(batch_size, *model.input.shape)
    module = copied(model.module).eval()
    suppression.teach_older_exporter_()
    with new_file(path) as inside, redirect_output(None):
        torch.onnx.export(module, (example,), inside, dynamo=False, input_names=["images"])


def _forget_origin_(path: Path) -> None:
    """Remove what the exporter notes on every node: stack traces with this machine's paths.

    They are a third of a small int8 file, and must not ship with it.
    """
    import onnx

    model = onnx.load(path)
    for graph in graphs.graphs(model.graph):
        for part in (
            *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer, graph,
        ):  # fmt: skip
            del part.metadata_props[:]
            part.doc_string = ""
    onnx.save(model, path)
