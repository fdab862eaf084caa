"""Boxes as files hold them: read, named, checked against their pictures."""
