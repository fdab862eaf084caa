"""Second-order estimate of the loss without the channel: squared weights times diagonal Fisher.

The Fisher is the mean over samples of squared gradients, which for channels is OBD-C. Scores are
in units of the loss (up to the factor 1/2), and so comparable between groups. As in Torch-Pruning,
depthwise weights, biases and bare parameters do not count.

Source: Wang et al., EigenDamage (https://arxiv.org/abs/1905.05934), section 3 (OBD at channel
level); LeCun et al., Optimal Brain Damage (NIPS 1989).
"""

from squeeze.pruning.importance.base import Evidence, Scorer

NEEDS_DATA = True
IN_LOSS_UNITS = True


def scorer(evidence: Evidence) -> Scorer:
    """Accumulate squared gradients sample by sample.

    Torch-Pruning's own ``accumulate_grad`` keeps only the last sample (1.6.1: it tests for a name
    in a dict of parameters), so the mean is made here and left where its criterion looks for it.
    """
    import torch
    from torch_pruning import importance

    parameters = [p for p in evidence.module.parameters() if p.requires_grad]
    squares = [torch.zeros_like(p) for p in parameters]
    count = 0
    for images, labels in evidence.batches():
        for image, label in zip(images, labels, strict=True):
            alone = label[None] if torch.is_tensor(label) else [label]
            loss = evidence.loss_of(image[None], alone)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            for square, gradient in zip(squares, gradients, strict=True):
                if gradient is not None:
                    square.add_(gradient**2)
            count += 1
    for parameter, square in zip(parameters, squares, strict=True):
        parameter.grad = square / count
    return importance.GroupHessianImportance(  # type: ignore[no-any-return]
        group_reduction="sum", normalizer=None
    )
