"""Experiments of the compression package."""
