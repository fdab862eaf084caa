"""One file per distillation loss; the file name is its name in a recipe."""
