"""One file per calibrator; the file name is its name in a recipe."""
