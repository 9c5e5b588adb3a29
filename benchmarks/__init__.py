"""Measurements: what the recipes reach, and how fast."""
