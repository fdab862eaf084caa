"""Everything a person or a CI job reads, rendered from one results.json."""
