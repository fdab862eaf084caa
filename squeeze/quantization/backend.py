"""One quantization backend: what its folder says about it, and the functions that do the work.

A backend is a folder. Its ``__init__.py`` holds a ``SPEC``, the module ``quantize`` beside it holds
``quantize(request)``, which writes the file, and ``bits(step, cpu)``, the bits of its weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from squeeze.core import plugins, specs

if TYPE_CHECKING:
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
        made: QuantizedFile = self._function("quantize")(request)
        return made

    def bits(self, step: "Quantization", cpu: "Cpu") -> int:
        """Return how many bits weights are going to have on a processor."""
        return int(self._function("bits")(step, cpu))

    @property
    def own_grid(self) -> str | None:
        """Its name, where it rounds weights to a grid of its own; else None."""
        return None if self.spec.keeps_recovered else self.name

    def _function(self, name: str) -> Callable[..., Any]:
        return plugins.load_function(plugins.BACKENDS, self.name, "quantize", name)


def load(name: str) -> Backend:
    """Return a backend.

    Raises:
        InputError: There is none of this name, or it is not one.
    """
    return Backend(name, specs.backend(name))
