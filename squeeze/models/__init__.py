"""Where models come from and how they are kept: references, factories, weights, bundles."""
