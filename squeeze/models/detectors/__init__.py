"""Detectors that end at their heads: torchvision's, unpacked, and small ones of our own."""
