"""Experiments of the maxim package."""
