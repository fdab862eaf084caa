"""Images and their labels: formats, annotations, preprocessing, and the sets of a run."""
