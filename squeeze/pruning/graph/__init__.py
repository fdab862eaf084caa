"""What can be pruned in a model, read off its exported graph, and how it is removed."""

from squeeze.pruning.graph.finding import find_groups
from squeeze.pruning.graph.grouping import OUTPUT
from squeeze.pruning.graph.removal import narrowed, remove_

__all__ = ["OUTPUT", "find_groups", "narrowed", "remove_"]
