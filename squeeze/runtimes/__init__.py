"""One folder per runtime; the folder's name is its name in a recipe."""
