"""From a torch module to the files that ship."""
