"""What a recipe may say, and how it is read and cross-checked. Nothing here needs torch."""
