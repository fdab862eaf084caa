"""What cannot be exported is one error, whatever torch prints of it."""

import pytest
import torch
from support.pruned import found_in
from torch import Tensor, nn

from squeeze.core.errors import SqueezeError


class Branches(nn.Module):
    """Asks for numbers in an image."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.b(2 * x if x.sum() > 0 else x)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("module", "place"),
    [
        (Branches(), r"^the model \(Branches\): "),
        (nn.Sequential(nn.Flatten(), nn.Linear(7, 2)), r"^1 \(Linear\): "),
    ],
)
def test_a_model_that_cannot_be_exported_is_one_error(
    module: nn.Module, place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SqueezeError, match=place + "torch.export cannot export this model: "):
        found_in(module)
    assert capfd.readouterr() == ("", "")
    assert torch.is_grad_enabled()
