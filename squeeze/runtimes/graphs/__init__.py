"""Walks over the graphs of files, branches and loop bodies included."""
