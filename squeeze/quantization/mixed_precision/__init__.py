"""Int8 files in which some layers stay float: those that the user names, or the fewest needed."""
