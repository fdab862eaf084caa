"""Accuracy recovery on the float module, before a runtime quantizes its exported file."""
