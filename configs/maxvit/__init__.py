"""Experiments of the maxvit package."""
