"""Losses that several papers share; per example, `[B]`."""
