"""Experiments of the iqa package."""
