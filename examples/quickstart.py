"""Prune a model, train it in a loop of your own, quantize it, and measure the file.

Run it where the folder ``served`` may be made: python examples/quickstart.py
"""

import torch
from digits_project import model, train_loader, val_loader

import squeeze

smaller = squeeze.prune(model, data=train_loader, pruning_ratio=0.5)
optimizer = torch.optim.SGD(smaller.model.train().parameters(), lr=0.05, momentum=0.9)
for images, labels in (batch for _ in range(5) for batch in train_loader):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(smaller.model(images), labels).backward()
    optimizer.step()
smaller.model.eval()
int8 = squeeze.quantize(smaller, calibration=train_loader, output="served")
top1 = squeeze.evaluate(int8, data=val_loader).accuracy.top1
print(f"{int8.files[0]}: top-1 {top1.value:.1%} ({top1.low:.1%} to {top1.high:.1%})")
