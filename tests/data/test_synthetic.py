"""Made-up calibration images: fitted to batch norms, told loudly, quantizing well enough."""

from pathlib import Path

import numpy as np
import pytest
import torch

from squeeze.core.errors import InputError
from squeeze.core.types import Silent
from squeeze.data import synthetic
from squeeze.data.sets import Data, Opening, open_data
from squeeze.models.types import Model
from squeeze.recipe.schema import DataBlock, SyntheticCalibration


def block(samples: int = 20, **settings: object) -> SyntheticCalibration:
    return SyntheticCalibration.model_validate(
        {"format": "synthetic", "samples": samples, "iterations": 40} | settings
    )


def first_norm_off(model: Model, images: torch.Tensor) -> float:
    """How far the first batch norm's input is from its running moments, by hand."""
    norm = next(part for part in model.module.modules() if isinstance(part, torch.nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    hook = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        model.module.eval()(images)
    hook.remove()
    assert norm.running_mean is not None
    assert norm.running_var is not None
    flat = seen[0].transpose(0, 1).flatten(1)
    expected = (norm.running_var + norm.eps).sqrt()
    off = ((flat.mean(1) - norm.running_mean) / expected).square().mean()
    return float(off + (flat.std(1, correction=0) / expected - 1).square().mean())


def test_images_are_fitted_to_the_batch_norms(trained: Model) -> None:
    before = {name: value.clone() for name, value in trained.module.state_dict().items()}
    needed = [parameter.requires_grad for parameter in trained.module.parameters()]
    noise = synthetic.make(block(match="nothing"), trained.module, trained.input, 0, Silent())
    fitted = synthetic.make(block(), trained.module, trained.input, 0, Silent())
    assert fitted.images.shape == noise.images.shape == (20, 1, 12, 12)
    assert first_norm_off(trained, torch.from_numpy(fitted.images)) < 0.5 * first_norm_off(
        trained, torch.from_numpy(noise.images)
    )
    assert "SYNTHETIC, 20 images of noise (seed 0), fitted to 9 batch norms" in fitted.notes[0]
    assert all(
        torch.equal(value, before[name]) for name, value in trained.module.state_dict().items()
    )
    assert [parameter.requires_grad for parameter in trained.module.parameters()] == needed


def test_the_same_seed_gives_the_same_images(trained: Model) -> None:
    once, again, other = (
        synthetic.make(block(4), trained.module, trained.input, seed, Silent()).images
        for seed in (1, 1, 2)
    )
    assert np.array_equal(once, again)
    assert not np.allclose(once, other)


def test_a_model_without_batch_norms_gets_noise_and_says_so(trained: Model) -> None:
    made = synthetic.make(block(4), torch.nn.Flatten(), trained.input, 0, Silent())
    assert "not fitted, because the model has no batch norms" in made.notes[0]


def opened(calibration: object, trained: Model | None = None) -> Data:
    data = DataBlock.model_validate(
        {"train": "builtin:digits", "validation": "builtin:digits", "calibration": calibration}
    )
    spec = trained.input if trained else None
    module = trained.module if trained else None
    assert spec is not None
    opening = Opening(Path(), spec, 3, Silent(), module)
    return open_data(data, opening, trains=False, calibrates=True)


def test_synthetic_sets_are_told_in_every_report(trained: Model) -> None:
    split = opened({"format": "synthetic", "samples": 9, "iterations": 2}, trained).calibration
    assert split is not None
    assert len(split) == 9
    assert len(split.fingerprint) == 32
    assert "SYNTHETIC" in split.notes[0]
    assert split.drawn == "of SYNTHETIC images, made with seed 3,"
    assert split.batch([0])[0].shape == (1, 1, 12, 12)


@pytest.mark.parametrize(("samples", "warned"), [(1, True), (7, True), (8, False)])
def test_few_samples_are_taken_with_a_warning(samples: int, warned: bool, trained: Model) -> None:  # noqa: FBT001
    for calibration in (
        {"from": "train", "samples": samples},
        {"format": "digits", "samples": samples},
    ):
        split = opened(calibration, trained).calibration
        assert split is not None
        assert len(split) == samples
        assert any("are a matter of chance" in note for note in split.notes) == warned
        assert "with seed 3" in split.drawn


def test_no_samples_are_refused(trained: Model) -> None:
    from squeeze.data.checks import enough

    split = opened({"from": "train", "samples": 3}, trained).calibration
    assert split is not None
    with pytest.raises(InputError, match="has no samples left"):
        enough(split.take([]))
