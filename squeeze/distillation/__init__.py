"""Teacher-student distillation."""
