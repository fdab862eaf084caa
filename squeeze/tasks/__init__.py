"""What a task means: its loss, its predictions, its scores."""
