"""Experiments of the resizer package."""
