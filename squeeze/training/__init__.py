"""The one training loop, for baseline training, fine-tuning, distillation and QAT alike."""
