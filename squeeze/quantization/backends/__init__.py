"""One file per quantization backend; the file name is its name in a recipe."""
