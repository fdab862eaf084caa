"""Errors, small types and plug-in lookup that every layer may use."""
