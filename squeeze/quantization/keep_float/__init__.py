"""Which operators of an exported file stay float, and which layers they belong to."""
