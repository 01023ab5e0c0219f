"""Pansharpening: sharp grey and coarse colour put together, with colour that bleeds."""

from __future__ import annotations

import numpy as np

from enhancement import satellite_optics as optics
from enhancement.satellite_geometry import enlarge

METHODS = ("brovey", "gsa", "hpm")
# Colour pixels are so many panchromatic ones wide, as on nearly every satellite.
RATIO = 4
# Luminance of ITU-R BT.709, in linear light.
_RGB_WEIGHTS = (0.2126, 0.7152, 0.0722)
# Added to all that ratios are made of, so that dark noise does not make colours: two
# levels of an 11-bit sensor; our choice.
_DARK = np.float32(1e-3)


def pansharpen(
    image: np.ndarray, method: str, ms_mtf: float, pan_mtf: float
) -> np.ndarray:
    """Returns the image as fused of a grey one and of colour at 1/4 resolution.

    Args:
      image: light, float32 `[H, W, C]`, C at least 3.
      method: how details get into the enlarged colour: `"brovey"` multiplies each band
        by the ratio of the grey image to the colour's luminance, `"hpm"` (high-pass
        modulation) by its ratio to the grey image as blurred as the colour, `"gsa"`
        (adaptive Gram-Schmidt, Aiazzi et al. 2007) adds them with the bands' regression
        on a luminance that is fitted to the grey image.
      ms_mtf: MTF of the colour at the Nyquist frequency of its pixels.
      pan_mtf: of the grey image at that of its own.
    """
    lens = optics.mtf_kernel(pan_mtf, 1)
    weights = (
        _RGB_WEIGHTS if image.shape[2] == 3 else [1 / image.shape[2]] * (image.shape[2])
    )
    grey = (image @ np.asarray(weights, np.float32))[..., None]
    grey = optics.sample(grey, lens, lens)
    coarse_colour, coarse_grey = _coarse(image, ms_mtf), _coarse(grey, ms_mtf)
    colour = _enlarged(coarse_colour, image)
    if method == "brovey":
        luminance = (colour @ np.asarray(weights, np.float32))[..., None]
        return _modulated(colour, grey, luminance)
    if method == "hpm":
        return _modulated(colour, grey, _enlarged(coarse_grey, image))
    return _gram_schmidt(grey, colour, coarse_grey, coarse_colour)


def _gram_schmidt(
    grey: np.ndarray,
    colour: np.ndarray,
    coarse_grey: np.ndarray,
    coarse_colour: np.ndarray,
) -> np.ndarray:
    bands = colour.shape[2]
    known = coarse_colour.reshape(-1, bands).astype(np.float64)
    known = np.column_stack([known, np.ones(len(known))])
    fit = np.linalg.lstsq(known, coarse_grey.ravel().astype(np.float64), rcond=None)[0]
    luminance = (colour @ fit[:bands].astype(np.float32) + np.float32(fit[bands]))[
        ..., None
    ]
    centred = luminance - luminance.mean()
    variance = float(np.mean(centred**2))
    covariance = (centred * (colour - colour.mean((0, 1)))).mean((0, 1))
    # Flat to rounding errors: nothing to regress on.
    gain = covariance / variance if variance > 1e-12 else np.ones(bands, np.float32)
    return colour + gain.astype(np.float32) * (grey - luminance)


def _coarse(image: np.ndarray, mtf: float) -> np.ndarray:
    """Returns the image at 1/4 resolution; odd ends are filled with their mirror."""
    below, right = (-side % RATIO for side in image.shape[:2])
    if below or right:
        image = np.pad(image, ((0, below), (0, right), (0, 0)), mode="reflect")
    taps = optics.line_spread(mtf, RATIO)
    return optics.sample(image, taps, taps, RATIO)


def _enlarged(coarse: np.ndarray, like: np.ndarray) -> np.ndarray:
    return enlarge(coarse, RATIO)[: like.shape[0], : like.shape[1]]


def _modulated(colour: np.ndarray, grey: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    """Returns the colour times the ratio of two grey images, noise below 0 cut off."""
    ratio = (np.maximum(grey, 0) + _DARK) / (np.maximum(coarse, 0) + _DARK)
    return (colour + _DARK) * ratio - _DARK
