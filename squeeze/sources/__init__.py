"""Where models and data come from: references, factories, bundles, datasets."""
