"""Quantization-aware training: a simulation of the int8 files that learns."""
