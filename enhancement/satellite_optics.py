"""Lens and detector of a satellite: blur kernels from MTF values, and sampling.

The modulation transfer function (MTF) is what an imager leaves of the contrast of a
sine wave. It is given at the Nyquist frequency of the low-resolution (LR) pixels, 1/2
cycle per LR pixel, as data sheets do; an LR pixel is `scale` pixels of the
high-resolution (HR) image. All kernels are separable, one for each axis.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize

from common.config import unknown
from common.errors import ConfigError

# MTF at Nyquist of multispectral bands, as pansharpening toolboxes have it. Four bands
# are blue, green, red and near infrared; eight are coastal, blue, green, yellow, red,
# red edge and two of near infrared; a single value is for any band.
SENSOR_MTF: dict[str, tuple[float, ...]] = {
    "quickbird": (0.34, 0.32, 0.30, 0.22),
    "ikonos": (0.26, 0.28, 0.29, 0.28),
    "geoeye1": (0.23, 0.23, 0.23, 0.23),
    "worldview4": (0.23, 0.23, 0.23, 0.23),
    "worldview2": (0.35, 0.35, 0.35, 0.35, 0.35, 0.35, 0.35, 0.27),
    "worldview3": (0.325, 0.355, 0.360, 0.350, 0.365, 0.360, 0.335, 0.315),
    "pleiades1b": (0.285, 0.285, 0.29, 0.285),
    "spot7": (0.33,),
    "default": (0.3,),
    "generic_ms": (0.29,),
    "generic_pan": (0.15,),
}
# Where red, green and blue are among four and eight bands, and the four among eight.
_RGB = {4: (2, 1, 0), 8: (4, 2, 1)}
_FOUR_OF_EIGHT = (1, 2, 4, 6)

# Taps are computed to so many standard deviations; beyond them lies 3e-7 of the sum.
_REACH = 5
# Cubic convolution of Keys 1981 (doi 10.1109/TASSP.1981.1163711): with -1/2 it
# reproduces parabolas.
_KEYS = -0.5
# Longer smears turn the contrast of waves at Nyquist around; no working satellite has
# half as much.
MAX_SMEAR = 1.5


def sensor_mtf(sensor: str, bands: int) -> tuple[float, ...]:
    """Returns the MTF at Nyquist of each band of an image by a known sensor.

    Args:
      sensor: one of `SENSOR_MTF`.
      bands: of the image. 3 are red, green, blue, any other number is in the sensor's
        order; of a sensor of eight bands 4 are blue, green, red, near infrared.

    Raises:
      ConfigError: unknown sensor, or it has no such images.
    """
    if sensor not in SENSOR_MTF:
        raise ConfigError(unknown("sensor", sensor, SENSOR_MTF))
    values = SENSOR_MTF[sensor]
    if len(values) == 1:
        return values * bands
    if bands == len(values):
        return values
    if bands == 3:
        return tuple(values[index] for index in _RGB[len(values)])
    if bands == 4:
        return tuple(values[index] for index in _FOUR_OF_EIGHT)
    raise ConfigError(
        f"sensor={sensor!r} has {len(values)} bands, the image has {bands}"
    )


def box_mtf(scale: int) -> float:
    """Returns the MTF at LR Nyquist of the mean of `scale` HR pixels.

    0.7071, 0.6667, 0.6533 for 2, 3, 4; a detector of infinitely many would have
    0.6366.
    """
    return 1 / (scale * math.sin(math.pi / (2 * scale)))


def gaussian_sigma(mtf: float, scale: int, image_mtf: float = 1.0) -> float:
    """Returns the Gaussian that lacks of an MTF, in HR pixels, 0 if nothing does.

    `scale / pi * sqrt(-2 ln(mtf / box_mtf(scale)))`, less in variance the blur that the
    HR image has already. Of a continuous Gaussian;
    `mtf_kernel` corrects it for being sampled.

    Args:
      mtf: at LR Nyquist, of lens and detector together, above 0 to 1.
      scale: HR pixels in an LR pixel.
      image_mtf: MTF of the HR image at its own Nyquist frequency, taken for Gaussian.
    """
    own = -2 * math.log(image_mtf) / math.pi**2
    lacking = -2 * math.log(mtf / box_mtf(scale)) * (scale / math.pi) ** 2
    return math.sqrt(max(lacking - own, 0.0))


def gaussian_taps(sigma: float, radius: int | None = None) -> np.ndarray:
    """Returns a sampled Gaussian of sum 1, float64 `[2 * radius + 1]`.

    Args:
      sigma: in pixels; 0 is no blur.
      radius: without it five times `sigma`.
    """
    radius = math.ceil(_REACH * sigma) if radius is None else radius
    places = np.arange(-radius, radius + 1)
    taps = np.exp(-((places / max(sigma, 1e-3)) ** 2) / 2)
    return taps / taps.sum()


def response(taps: np.ndarray, frequency: float) -> float:
    """Returns the real MTF of symmetric taps at a frequency in cycles per pixel."""
    places = np.arange(len(taps)) - (len(taps) - 1) / 2
    return float(taps @ np.cos(2 * math.pi * frequency * places))


def mtf_kernel(mtf: float, scale: int, image_mtf: float = 1.0) -> np.ndarray:
    """Returns the taps of the lens, so that lens and detector have the MTF at Nyquist.

    A Gaussian sampled at HR pixels passes more than the continuous one, 5 % for MTF 0.5
    at scale 2 and up to twice as much at scale 1; the width is solved for what passes.

    Args:
      mtf: at LR Nyquist, of lens and detector box together, above 0 to 1. More than the
        box passes alone is no lens blur.
      scale: HR pixels in an LR pixel.
      image_mtf: MTF of the HR image at its own Nyquist frequency; what its blur does
        already is left out.

    Returns:
      float64 `[n]`, n odd, symmetric, sum 1.
    """
    sigma = gaussian_sigma(mtf, scale, image_mtf)
    if sigma == 0:
        return np.ones(1)
    frequency = 0.5 / scale
    wanted = math.exp(-2 * (math.pi * sigma * frequency) ** 2)
    # Sampling adds at most as much as the Gaussian itself passes: ln(2) in the
    # exponent at scale 1, which is below 0.4 pixels.
    wide = sigma + 0.4
    radius = math.ceil(_REACH * wide)

    def excess(width: float) -> float:
        return response(gaussian_taps(width, radius), frequency) - wanted

    solved = optimize.root_scalar(excess, bracket=(0.05, wide), xtol=1e-7)
    return gaussian_taps(solved.root, radius)


def smear_taps(smear: float, scale: int) -> np.ndarray:
    """Returns the taps of a smear, which multiplies the MTF by sinc(smear / 2).

    A straight, centred box; as any on pixels passes too little or too much, its length
    is solved for what it passes at LR Nyquist.

    Args:
      smear: length in LR pixels, 0 to `MAX_SMEAR`.
      scale: HR pixels in an LR pixel.

    Returns:
      float64 `[n]`, n odd, symmetric, sum 1.
    """
    if smear == 0:
        return np.ones(1)
    reach = math.ceil((smear * scale + 2) / 2)
    places = np.abs(np.arange(-reach, reach + 1))

    def box(length: float) -> np.ndarray:
        return np.clip((length + 1) / 2 - places, 0, 1) / length

    def excess(length: float) -> float:
        return response(box(length), 0.5 / scale) - np.sinc(smear / 2)

    solved = optimize.root_scalar(excess, bracket=(1, smear * scale + 1), xtol=1e-7)
    return box(solved.root)


def line_spread(
    mtf: float, scale: int, image_mtf: float = 1.0, smear: float = 0.0
) -> np.ndarray:
    """Returns the taps of lens, smear and detector along one axis, float64 `[n]`.

    Args:
      mtf: of lens and detector at LR Nyquist; a smear lowers it further.
      scale: HR pixels in an LR pixel.
      image_mtf: as in `mtf_kernel`.
      smear: motion during exposure in LR pixels.
    """
    taps = np.convolve(mtf_kernel(mtf, scale, image_mtf), smear_taps(smear, scale))
    return np.convolve(taps, np.full(scale, 1 / scale))


def bicubic_taps(scale: int) -> np.ndarray:
    """Returns the taps of antialiased bicubic down-sampling (a = -1/2), `[n]`."""
    reach = math.ceil(1.5 * scale + 0.5) - 1
    places = np.arange(-reach, scale + reach) - (scale - 1) / 2
    taps = cubic_weight(places / scale)
    return taps / taps.sum()


def cubic_weight(distance: np.ndarray) -> np.ndarray:
    """Returns the weight of cubic convolution, a = -1/2, at distances in pixels."""
    d = np.abs(distance)
    near = ((_KEYS + 2) * d - (_KEYS + 3)) * d * d + 1
    far = _KEYS * (((d - 5) * d + 8) * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def stack(taps: list[np.ndarray]) -> np.ndarray:
    """Returns the taps of several bands as `[n, C]`, shorter ones with zeros around."""
    longest = max(map(len, taps))
    return np.stack([np.pad(t, (longest - len(t)) // 2) for t in taps], axis=1)


def sample(
    image: np.ndarray, along: np.ndarray, across: np.ndarray, scale: int = 1
) -> np.ndarray:
    """Returns the image filtered and sampled; borders are mirrored.

    LR pixel `i` is centred on HR coordinate `scale * (i + 0.5) - 0.5`, so that both
    grids cover the same ground.

    Args:
      image: float32 `[H, W, C]`, sides multiples of `scale`.
      along: taps along the columns (the satellite's way), `[n]` or for each band
        `[n, C]`; `n - scale` is even.
      across: taps along the rows.
      scale: HR pixels in an LR pixel.

    Returns:
      float32 `[H / scale, W / scale, C]`.
    """
    return _sample_axis(_sample_axis(image, along, scale, 0), across, scale, 1)


def _sample_axis(
    image: np.ndarray, taps: np.ndarray, scale: int, axis: int
) -> np.ndarray:
    weights = taps.reshape(len(taps), -1).astype(np.float32)
    margin = (len(taps) - scale) // 2
    pad = [(margin, margin) if a == axis else (0, 0) for a in range(3)]
    padded = np.pad(image, pad, mode="reflect") if margin else image
    # Whole bands in memory order: a step along the last axis is slow to add.
    span = image.shape[axis] - scale + 1
    total = None
    for start, weight in enumerate(weights):
        part = slice(start, start + span, scale)
        values = padded[part] if axis == 0 else padded[:, part]
        total = values * weight if total is None else total + values * weight
    assert total is not None
    return total
