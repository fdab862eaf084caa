"""Checkpoints: all that a training needs to resume after a kill, in one file without pickle.

The tensors (model, what trains along, optimizer, average, best model, torch's random states) are
those of a safetensors file; everything else is JSON in its header, beside a SHA-256 of both. The
file replaces the one before atomically, so a kill at any moment leaves a whole one.
"""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

import numpy as np

from squeeze.store import claim, key_of, new_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor, nn, optim

    Tensors = dict[str, Tensor]

_CONTENT, _SHA256 = "squeeze", "sha256"
_FORM = 2
"""Raised when ``PlainState`` changes, so that checkpoints of an earlier form are not used."""
_ANEW = "the training starts from the beginning"


class OptimizerState(TypedDict):
    """An optimizer's state but its tensors.

    Attributes:
        param_groups: As ``state_dict`` returns them.
        state: By number of the parameter.
    """

    param_groups: list[dict[str, object]]
    state: dict[str, dict[str, object]]


class GeneratorStates(TypedDict):
    """The states of the random generators whose states are numbers.

    Attributes:
        plan: Of the batches' generator.
        python: As ``random.getstate`` returns it; tuples come back as lists.
        numpy: As ``numpy.random.get_state`` returns it, with a list of its keys.
    """

    plan: Mapping[str, object]
    python: tuple[int, Sequence[int], float | None]
    numpy: tuple[str, Sequence[int], int, int, float]


class PlainState(TypedDict):
    """All of a training's state that is no tensor.

    Attributes:
        history: One entry per finished epoch.
        optimizer: See ``of_optimizer``.
        schedule: As ``state_dict`` returns it.
        scaler: As ``state_dict`` returns it.
        updates: Of the moving average.
        random: See ``of_generators``.
    """

    history: list[dict[str, object]]
    optimizer: OptimizerState
    schedule: dict[str, object]
    scaler: dict[str, object]
    updates: int
    random: GeneratorStates


@dataclass
class Checkpoints:
    """The checkpoints of one step, a file per training, numbered as they come.

    Attributes:
        folder: Made with the first checkpoint.
        key: Of the step's work; checkpoints of other work are never used.
        trainings: How many have begun.
    """

    folder: Path
    key: str
    trainings: int = 0

    def next(self) -> "Checkpoint":
        """Return the place of the training that begins now."""
        self.trainings += 1
        return Checkpoint(self.folder / f"{self.trainings}.safetensors", self.key)


@dataclass(frozen=True)
class TrainingState:
    """What is saved: plain data, and tensors by name."""

    plain: PlainState
    tensors: "Tensors"

    def part(self, prefix: str) -> "Tensors":
        """Return the tensors of one part, by their names in it."""
        head = f"{prefix}/"
        return {n.removeprefix(head): t for n, t in self.tensors.items() if n.startswith(head)}


@dataclass(frozen=True)
class Checkpoint:
    """One file.

    Attributes:
        path: Its place.
        key: Of the work that it belongs to.
    """

    path: Path
    key: str

    def save(self, state: TrainingState, shape: object) -> None:
        """Write the file whole.

        Args:
            state: Its content.
            shape: Plain data by which ``load`` knows that the content fits.

        Raises:
            InputError: The place cannot be written.
        """
        from safetensors.torch import save as to_bytes

        claim(self.path.parent, self.key)
        content = json.dumps({"key": key_of(self.key, _FORM, shape), "plain": state.plain})
        tensors = {
            name: tensor.detach().cpu().contiguous().clone()
            for name, tensor in state.tensors.items()
        }
        header = {_CONTENT: content, _SHA256: _sha256(content, tensors)}
        with new_file(self.path) as inside:
            inside.write_bytes(to_bytes(tensors, header))

    def load(self, shape: object, warn: "Callable[[str], None]") -> TrainingState | None:
        """Return the content; None when there is no file, or one of other work or damaged.

        Args:
            shape: See ``save``.
            warn: Called with a message about a damaged file.
        """
        from safetensors import SafetensorError, safe_open

        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if _sha256(header[_CONTENT], tensors) != header[_SHA256]:
                raise ValueError("its SHA-256 differs from the recorded one")  # noqa: TRY301
            content = json.loads(header[_CONTENT])
            key, plain = content["key"], content["plain"]
        except KeyError as error:
            warn(f"{self.path}: the checkpoint is damaged: its header has no {error}; {_ANEW}")
        except (SafetensorError, OSError, ValueError, TypeError) as error:
            warn(f"{self.path}: the checkpoint is damaged: {error}; {_ANEW}")
        else:
            fits = key == key_of(self.key, _FORM, shape)
            return TrainingState(plain, tensors) if fits else None
        return None


def _sha256(content: str, tensors: "Tensors") -> str:
    """Return the SHA-256 of everything in a file, whatever the order of its tensors."""
    import torch

    whole = hashlib.sha256(content.encode())
    for name, tensor in sorted(tensors.items()):
        whole.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        whole.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()


def of_optimizer(optimizer: "optim.Optimizer") -> tuple[OptimizerState, "Tensors"]:
    """Return an optimizer's state as plain data and tensors named ``<parameter>/<key>``."""
    import torch

    content = optimizer.state_dict()
    plain: OptimizerState = {"param_groups": content["param_groups"], "state": {}}
    tensors: Tensors = {}
    for number, values in content["state"].items():
        for name, value in values.items():
            if torch.is_tensor(value):
                tensors[f"{number}/{name}"] = value
            else:
                plain["state"].setdefault(str(number), {})[name] = value
    return plain, tensors


def load_optimizer_(
    optimizer: "optim.Optimizer", plain: OptimizerState, tensors: "Mapping[str, Tensor]"
) -> None:
    """Restore what ``of_optimizer`` returned, in the memory layout of the parameters."""
    import torch

    state = {int(n): dict(v) for n, v in plain["state"].items()}
    for path, tensor in tensors.items():
        number, _, name = path.partition("/")
        state.setdefault(int(number), {})[name] = tensor
    groups = [
        {n: tuple(v) if n == "betas" and isinstance(v, list) else v for n, v in group.items()}
        for group in plain["param_groups"]
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if torch.is_tensor(value) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)


def of_generators(rng: np.random.Generator) -> tuple[GeneratorStates, "Tensors"]:
    """Return the states of all random generators: the plan's, Python's, NumPy's and torch's."""
    import torch

    state = np.random.get_state(legacy=True)  # noqa: NPY002  (the user's code may use it)
    name, keys, position, has_gauss, cached = cast(
        "tuple[str, NDArray[np.uint32], int, int, float]", state
    )
    plain: GeneratorStates = {
        "plan": rng.bit_generator.state,
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), position, has_gauss, cached),
    }
    tensors = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {str(n): state for n, state in enumerate(torch.cuda.get_rng_state_all())}
    return plain, tensors


def load_generators_(
    rng: np.random.Generator, plain: GeneratorStates, tensors: "Mapping[str, Tensor]"
) -> None:
    """Restore what ``of_generators`` returned."""
    import torch

    rng.bit_generator.state = plain["plan"]
    version, internal, gauss = plain["python"]
    random.setstate((version, tuple(internal), gauss))
    name, numbers, position, has_gauss, cached = plain["numpy"]
    keys = np.array(numbers, np.uint32)
    np.random.set_state((name, keys, position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(tensors["cpu"])
    if torch.cuda.is_available():
        for number in range(min(torch.cuda.device_count(), len(tensors) - 1)):
            torch.cuda.set_rng_state(tensors[str(number)], number)


def shapes(module: "nn.Module | None") -> dict[str, list[int]]:
    """Return the shapes of all parameters: a pruned model has others than its original."""
    return {} if module is None else {n: list(p.shape) for n, p in module.named_parameters()}
