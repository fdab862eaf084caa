"""Training around pruning: sparse before, fine-tuning after, distillation meanwhile."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import squeeze
from squeeze.core import permission
from squeeze.core.types import Silent
from squeeze.data.sets import Data
from squeeze.models import bundle
from squeeze.models.types import Architecture, Model
from squeeze.pruning import recover
from squeeze.pruning.step import PruneContext, run
from squeeze.recipe.schema import PruneStep
from squeeze.tasks.classification import task as classification
from squeeze.training.inputs import Training

Write = Callable[[Any], Path]
Wrap = Callable[..., Model]


@pytest.fixture
def training(digits: Data) -> Training:
    """Train on 256 digits."""
    assert digits.train is not None
    few = digits.train.take(range(256))
    validation = digits.validation.take(range(100))
    return Training(few, validation, classification, 0, Silent(), "1-prune")


def step(**changes: object) -> PruneStep:
    return PruneStep.model_validate({"pruning_ratio": 0.5, "align": 1} | changes)


FINETUNE = {"epochs": 1, "lr": 0.02, "batch_size": 64}


def test_without_settings_there_is_nothing_to_train(trained: Model, training: Training) -> None:
    assert recover.sparsifier(step(), training) is None
    assert recover.finetuner(step(), trained, training) is None


def test_fine_tuning_trains_a_copy(trained: Model, training: Training) -> None:
    tune = recover.finetuner(step(finetune=FINETUNE), trained, training)
    assert tune is not None
    before = {key: value.clone() for key, value in trained.module.state_dict().items()}
    tuned, epochs = tune(trained, 1)
    assert len(epochs) == 1
    assert all(torch.equal(before[k], v) for k, v in trained.module.state_dict().items())
    assert not torch.equal(tuned.module.conv1.weight, trained.module.conv1.weight)  # type: ignore[union-attr, arg-type]
    assert tuned.architecture == trained.architecture


@pytest.mark.parametrize("losses", [[], [{"name": "kd"}]])
def test_every_round_is_fine_tuned(
    trained: Model, training: Training, losses: list[dict[str, str]]
) -> None:
    given = step(finetune=FINETUNE, rounds=2, losses=losses)
    tune = recover.finetuner(given, trained, training)
    around = PruneContext(0, training.train, classification, finetune=tune)
    done = run(trained, given, around)
    assert len(done.epochs) == 2
    assert len(done.model.architecture.pruning) == 2
    assert done.model.module.conv1.out_channels == 8  # type: ignore[union-attr]
    assert not any(part._forward_hooks for part in done.model.module.modules())


def test_distillation_looks_at_the_unpruned_model(trained: Model, training: Training) -> None:
    """Without the labels' own loss, and taught by a teacher that knows one class only."""
    one_class = trained.copy()
    head: Any = one_class.module.fc
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(20.0 * torch.eye(10)[3])
    settings = {"epochs": 4, "lr": 0.2, "batch_size": 32}
    given = step(finetune=settings, losses=[{"name": "kd"}], label_weight=0.0)
    tune = recover.finetuner(given, one_class, training)
    assert tune is not None
    tuned, _ = tune(trained, 1)
    images, _ = training.validation.batch(range(100))
    with torch.no_grad():
        answers = tuned.module.eval()(torch.from_numpy(images)).argmax(1)
    assert (answers == 3).float().mean() > 0.9


@pytest.mark.parametrize("regularizer", ["group_norm", "growing_reg", "bn_scale"])
def test_sparse_training_weakens_what_will_go(
    trained: Model, training: Training, regularizer: str
) -> None:
    """Against the same training with next to no strength."""
    kind = nn.BatchNorm2d if regularizer == "bn_scale" else nn.Conv2d
    sizes = {}
    for strength in (1e-12, 0.02):
        sparse = {"regularizer": regularizer, "strength": strength, "epochs": 3, "lr": 0.05}
        train = recover.sparsifier(step(sparse=sparse), training)
        assert train is not None
        trained_on, epochs = train(trained, 0)
        assert len(epochs) == 3
        assert trained_on.architecture.pruning == ()
        parts = [m.weight for m in trained_on.module.modules() if isinstance(m, kind)]
        sizes[strength] = sum(float(weight.detach().abs().sum()) for weight in parts)  # type: ignore[union-attr, operator]
    assert sizes[0.02] < sizes[1e-12]


def test_sparse_training_keeps_the_adapters_on_record(training: Training, tmp_path: Path) -> None:
    """A rewritten layer stays rewritten, through sparse training, pruning and a bundle."""
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "from torchvision.models.vision_transformer import EncoderBlock\n"
        "class make(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.stem, self.block = nn.Conv2d(1, 8, 4, 4), EncoderBlock(2, 8, 16, 0.0, 0.0)\n"
        "        self.head = nn.Linear(8, 10)\n"
        "    def forward(self, x):\n"
        "        x = self.stem(x).flatten(2).transpose(1, 2)\n"
        "        return self.head(self.block(x).mean(1))\n"
    )
    from squeeze.models.factory import make

    spec = training.train.spec
    module = make("./net.py:make", {}, tmp_path)
    model = Model(module, Architecture("./net.py:make", tmp_path, {}, spec))
    given = step(sparse={"epochs": 1, "lr": 0.01})
    train = recover.sparsifier(given, training)
    done = run(model, given, PruneContext(0, sparsify=train))
    assert done.model.architecture.adapters == ("torchvision_vit",)
    folder = bundle.save(done.model, tmp_path / "bundle")
    images = torch.randn(2, 1, 12, 12)
    with torch.no_grad():
        expected = done.model.module(images)
        with permission.allowing(["./net.py:make"], tmp_path):
            assert torch.equal(bundle.load(folder).module(images), expected)


def test_what_was_frozen_stays_frozen_for_fine_tuning(trained: Model) -> None:
    frozen = trained.copy()
    for part in frozen.module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.requires_grad_(requires_grad=False)
    done = run(frozen, step(), PruneContext(0))
    flags = {name: p.requires_grad for name, p in done.model.module.named_parameters()}
    assert flags == {name: p.requires_grad for name, p in frozen.module.named_parameters()}
    assert not all(flags.values())


@pytest.mark.slow
def test_a_recipe_prunes_in_rounds_with_distillation(
    recipe_data: dict[str, Any], write_recipe: Write, tmp_path: Path
) -> None:
    recipe_data["baseline"]["train"]["epochs"] = 2
    recipe_data["steps"] = [
        {
            "method": "prune",
            "pruning_ratio": 0.5,
            "importance": "taylor",
            "samples": 64,
            "rounds": 2,
            "align": 1,
            "sparse": {"epochs": 1, "lr": 0.02, "regularizer": "group_norm"},
            "finetune": {"epochs": 1, "lr": 0.05},
            "losses": [{"name": "kd"}],
        }
    ]
    recipe_data["targets"] = [{"runtime": "pytorch"}]
    recipe_data["gates"] = []
    loaded = squeeze.load_recipe(write_recipe(recipe_data))
    results, folder = squeeze.run(
        loaded, output=tmp_path / "runs", progress=Silent(), command="test"
    )
    state = results.models[1]
    assert state.method == "prune"
    assert len(state.epochs) == 3  # sparse, and after each round
    assert state.macs < results.models[0].macs / 3
    assert any(note.startswith("round 2: ") for note in state.notes)
    model = bundle.load(folder.path / "steps" / "1-prune")
    assert [done.importance for done in model.architecture.pruning] == ["taylor", "taylor"]
