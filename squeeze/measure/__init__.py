"""Accuracy, latency, cost and the statistics that make them honest."""
