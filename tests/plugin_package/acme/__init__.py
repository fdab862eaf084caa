"""An example of a package that adds to squeeze, of every kind one."""
