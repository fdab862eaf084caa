"""The whole run: its stages, the steps that they consist of, and what they leave behind."""
