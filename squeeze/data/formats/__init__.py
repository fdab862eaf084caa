"""One file per dataset format; the file name is the format's name in a recipe."""
