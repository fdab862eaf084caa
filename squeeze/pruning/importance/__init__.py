"""One file per pruning criterion; the file name is its name in a recipe."""
