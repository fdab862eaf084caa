"""Layers that adapters put in place of those that cannot be pruned."""
