"""From what is sent down to the product that is sold: stages 8 to 15."""

from __future__ import annotations

import numpy as np
from scipy import fft

from common.data.degradations.filters import opencv
from enhancement import satellite_codec as codec
from enhancement import satellite_geometry as geometry
from enhancement.satellite_config import SatelliteConfig
from enhancement.satellite_draws import Draws
from enhancement.satellite_pansharpen import pansharpen
from enhancement.satellite_sensor import Exposure

# The bilateral filter averages within so many pixels, its Gaussian in space being one
# pixel wide: mild, our choice.
_BILATERAL = 5
# Values closer together than this are stretched no further, or the noise of a flat sea
# would fill the whole range; our choice.
_MIN_SPAN = 0.05


def unsharp(image: np.ndarray, amount: float, sigma: float) -> np.ndarray:
    """Returns `y + amount (y - G y)`, which restores MTF and amplifies noise.

    The Gaussian is exact at every frequency, by cosine transform, which mirrors the
    image at its borders: sampled at pixels one of 0.7 is twice too large at Nyquist.

    Args:
      image: float32 `[H, W, C]`.
      amount: of the details that are added.
      sigma: standard deviation of the Gaussian in pixels.
    """
    rows, columns = (_transfer(side, sigma) for side in image.shape[:2])
    gain = 1 + amount * (1 - rows[:, None] * columns)
    spectrum = fft.dctn(image, axes=(0, 1)) * gain[..., None].astype(np.float32)
    return fft.idctn(spectrum, axes=(0, 1))


def tone_curve(
    values: np.ndarray, low: float, high: float, gamma: float, contrast: float,
    haze: float,
) -> np.ndarray:  # fmt: skip
    """Returns display values of light, float32 in [0, 1] (stage 13).

    Args:
      values: light.
      low: becomes black.
      high: becomes white.
      gamma: exponent, 1 / 2.2 for a display.
      contrast: share of the curve `3 y**2 - 2 y**3` in what follows, 0 to 1.
      haze: grey into which black is lifted; if below 0 what becomes black.
    """
    stretched = (values - np.float32(low)) / np.float32(high - low)
    shown = np.clip(stretched, 0, 1) ** np.float32(gamma)
    if contrast:
        shown += np.float32(contrast) * (shown * shown * (3 - 2 * shown) - shown)
    grey = np.float32(abs(haze))
    if haze < 0:
        return np.clip((shown - grey) / (1 - grey), 0, 1)
    return grey + (1 - grey) * shown


def restore(
    draws: Draws, taken: np.ndarray, exposure: Exposure, config: SatelliteConfig
) -> np.ndarray:
    """Returns the image calibrated, denoised and sharpened (stages 8 to 10)."""
    stage = draws.stage("destripe")
    if stage.runs(config.destripe_prob):
        # Columns are known from calibration, up to what is left of their errors.
        known = np.float32(1 - stage.number("residual", config.destripe_residual))
        offset, gain = exposure.offset * known, 1 + (exposure.gain - 1) * known
        taken = (taken - offset) / gain
    stage = draws.stage("denoise")
    if stage.runs(config.denoise_prob):
        strength = stage.number("strength", config.denoise_strength)
        taken = _bilateral(taken, strength * exposure.sigma)
    stage = draws.stage("sharpen")
    if stage.runs(config.sharpen_prob):
        amount = stage.number("amount", config.sharpen_amount)
        taken = unsharp(taken, amount, stage.number("sigma", config.sharpen_sigma))
    return taken


def assemble(draws: Draws, bands: np.ndarray, config: SatelliteConfig) -> np.ndarray:
    """Returns the image pansharpened and rectified (stages 11 and 12)."""
    stage = draws.stage("pansharpen")
    # Of one or two bands there is no colour to sharpen.
    if stage.runs(config.pansharpen_prob if bands.shape[2] >= 3 else 0.0):
        method = stage.choice("method", config.pansharpen_methods)
        ms_mtf = stage.number("ms_mtf", config.ms_mtf)
        pan_mtf = stage.number("pan_mtf", config.pan_mtf)
        bands = pansharpen(bands, method, ms_mtf, pan_mtf)
    stage = draws.stage("resample")
    if stage.runs(config.resample_prob):
        kind = stage.choice(
            "interpolation", geometry.INTERPOLATIONS, config.resample_odds
        )
        rotation = stage.number("rotation", config.resample_rotation)
        zoom = stage.number("zoom", config.resample_zoom)
        matrix = geometry.similarity(zoom, rotation)
        bands = geometry.there_and_back(bands, matrix, kind)
    return bands


def draw_tone(
    draws: Draws, light: np.ndarray, config: SatelliteConfig
) -> dict[str, float] | None:
    """Returns the arguments of `tone_curve` for an LR image, or None if there is none.

    All bands have the same curve, so that colours stay; a constant image becomes one.
    """
    stage = draws.stage("tone")
    if not stage.runs(config.tone_prob):
        return None
    tails = 100 * stage.number("tails", config.tone_tails)
    low, high = np.percentile(light, [tails, 100 - tails])
    if high - low < _MIN_SPAN:
        middle = (low + high) / 2
        low, high = middle - _MIN_SPAN / 2, middle + _MIN_SPAN / 2
    curved = stage.rng.random() < config.s_curve_prob
    return {
        "low": stage.keep("low", float(low)),
        "high": stage.keep("high", float(high)),
        "gamma": stage.number("gamma", config.gamma),
        "contrast": stage.number("contrast", config.contrast if curved else 0.0),
        "haze": stage.number("haze", config.haze),
    }


def deliver(draws: Draws, product: np.ndarray, config: SatelliteConfig) -> np.ndarray:
    """Returns the product in 8 bits and as a JPEG file keeps it (stages 14 and 15)."""
    if config.quantize:
        product = np.rint(product * 255) / np.float32(255)
    stage = draws.stage("delivery")
    if not stage.runs(config.delivery_prob):
        return product
    quality = stage.whole("quality", config.delivery_quality)
    if product.shape[2] != 3:
        return codec.jpeg(product, quality)
    subsampling = stage.choice("subsampling", config.delivery_subsampling)
    return codec.jpeg(product, quality, subsampling)


def _transfer(side: int, sigma: float) -> np.ndarray:
    """Returns a Gaussian's response at the frequencies of a cosine transform."""
    frequency = np.arange(side) / (2 * side)
    return np.exp(-2 * (np.pi * sigma * frequency) ** 2)


def _bilateral(image: np.ndarray, width: float) -> np.ndarray:
    """Returns the mean of neighbours whose values differ by less than about `width`."""
    if width <= 0:
        return image
    cv2 = opencv()
    # OpenCV takes three bands together, or one.
    parts = [image] if image.shape[2] == 3 else np.split(image, image.shape[2], axis=2)
    done = [
        cv2.bilateralFilter(np.ascontiguousarray(part), _BILATERAL, width, 1.0)
        for part in parts
    ]
    return np.concatenate([part.reshape(*image.shape[:2], -1) for part in done], 2)
