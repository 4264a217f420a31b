"""Metrics: what a number means, and its values at one moment."""
