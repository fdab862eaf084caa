"""What changes a model: prune, distill, quantize, and the training loop they share."""
