"""One folder per quantization backend; the folder's name is its name in a recipe."""
