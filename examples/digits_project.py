"""What you have already: a trained module, and two loaders of preprocessed images."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def _conv(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


def train_epochs(model: nn.Module, loader: DataLoader, epochs: int, lr: float) -> nn.Module:
    """Train with plain SGD; return the model in eval mode."""
    optimizer = torch.optim.SGD(model.train().parameters(), lr=lr, momentum=0.9)
    for _ in range(epochs):
        for images, labels in loader:
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


torch.manual_seed(0)
digits = load_digits()
pixels = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16  # (1797, 1, 8, 8)
data = TensorDataset((pixels - 0.3) / 0.35, torch.tensor(digits.target))
train_set, val_set = torch.utils.data.random_split(data, [1257, 540])
train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
val_loader = DataLoader(val_set, batch_size=64)

model = nn.Sequential(
    _conv(1, 32),
    _conv(32, 64, stride=2),
    _conv(64, 64),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(64, 10),
)
train_epochs(model, train_loader, epochs=5, lr=0.05)
