"""Experiments of the deblur_diffusion package."""
