"""Metrics that several papers share."""
