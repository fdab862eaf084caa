"""Torch module → float ``.tflite``, through litert-torch, with a channel-last input."""

from pathlib import Path

from squeeze.core.errors import SqueezeError, cause_of
from squeeze.core.output import redirect_output
from squeeze.models.copying import copied
from squeeze.models.types import Model
from squeeze.recipe.two_stage import cannot_suppress
from squeeze.store import new_file, scratch


def export(model: Model, path: Path, *, batch_size: int = 1, log: Path | None = None) -> None:
    """Write a LiteRT file: input ``(batch_size, H, W, C)``, outputs as the model's.

    The file's signature calls them ``output_0``, ``output_1`` and so on in the model's order.

    Args:
        model: What to export.
        path: The file; it appears whole or not at all.
        batch_size: Fixed in the file.
        log: Where the converter's output goes.

    Raises:
        SqueezeError: The converter cannot express the model.
    """
    import torch

    spec = getattr(model.module, "detector", None)
    if spec is not None and spec.decoder == "two_stage":
        raise SqueezeError(cannot_suppress("litert"), where=model.architecture.build)
    channels, height, width = model.input.shape
    module = copied(model.module).eval()
    with new_file(path) as inside, scratch(for_libraries=True):
        try:
            with redirect_output(log):
                import litert_torch

                channel_last = litert_torch.to_channel_last_io(module, args=[0])
                example = torch.zeros(batch_size, height, width, channels)
                with torch.inference_mode():
                    channel_last(example)  # what layers compute once becomes a constant
                litert_torch.convert(channel_last.eval(), (example,)).export(str(inside))
        except OSError:
            raise
        except Exception as error:
            raise SqueezeError(
                f"the LiteRT converter failed: {cause_of(error)}",
                where=model.architecture.build,
                hint=f"its full message is in {log}" if log else None,
            ) from error
