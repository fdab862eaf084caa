"""One file per regulariser of sparse training; the file name is its name in a recipe."""
