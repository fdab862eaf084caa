"""One quantization backend: its spec, and the functions that do the work.

A backend is a folder. Its ``__init__.py`` holds a ``SPEC``, the module ``quantize`` beside it holds
``quantize(request)``, which writes the file, and ``bits(step, cpu)``, the bits of its weights.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from squeeze.core import plugins, specs

if TYPE_CHECKING:
    from collections.abc import Callable

    from squeeze.core.cpu import Cpu
    from squeeze.quantization.request import QuantizedFile, Request
    from squeeze.recipe.schema import Quantization


@dataclass(frozen=True)
class Backend:
    """A backend by its name in recipes.

    Attributes:
        name: In recipes.
        spec: What is true of it without its library.
    """

    name: str
    spec: specs.BackendSpec

    def quantize(self, request: "Request") -> "QuantizedFile":
        """Write the quantized file, or bundle, of a float one.

        Raises:
            InputError: The file cannot be quantized.
            SqueezeError: The library fails.
        """
        write: Callable[[Request], QuantizedFile] = plugins.load_function(
            plugins.BACKENDS, self.name, "quantize", "quantize"
        )
        return write(request)

    def bits(self, step: "Quantization", cpu: "Cpu") -> int:
        """Return how many bits weights are going to have on a processor."""
        found: Callable[[Quantization, Cpu], int] = plugins.load_function(
            plugins.BACKENDS, self.name, "quantize", "bits"
        )
        return found(step, cpu)

    @property
    def own_grid(self) -> str | None:
        """Its name, where it rounds weights to a grid of its own; else None."""
        return None if self.spec.keeps_recovered else self.name


def load(name: str) -> Backend:
    """Return a backend.

    Raises:
        InputError: There is none of this name, or it is not one.
    """
    return Backend(name, specs.backend(name))
