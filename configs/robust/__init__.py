"""Experiments of the robust package."""
