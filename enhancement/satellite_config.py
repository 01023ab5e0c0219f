"""The numbers of what a satellite and its ground station do to a picture."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from common.config import unknown
from common.data.degradations.base import Range, ends
from common.data.degradations.jpeg import SUBSAMPLINGS
from common.errors import ConfigError
from enhancement.satellite_geometry import INTERPOLATIONS
from enhancement.satellite_optics import MAX_SMEAR, SENSOR_MTF
from enhancement.satellite_pansharpen import METHODS

MAX_SCALE = 8
_SHARE = (0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class SatelliteConfig:
    """The fifteen stages of the package's README, the defaults `full`.

    Their structure follows arXiv 2002.11248, which gives no numbers: where no source is
    named, a number is inferred from what is known of such sensors, or,
    marked (our choice), ours. A `Range` is a number or a pair (low, high); every image
    draws its own. A `*_prob` is the probability that the stage runs.

    Attributes:
      scale: HR pixels in an LR pixel along each side, 1 to 8.
      linearize: stage 1, whether the values given are sRGB and have to become light:
        `"auto"` for uint8 of three bands, `"always"`, `"never"`. Unless stage 13 makes
        its own curve, both results are sRGB again.
      geometry_prob: of stage 2, which moves the HR image, so that the target moves too.
      shift: in LR pixels along each axis.
      rotation: in degrees.
      zoom: factor; of an oblique view.
      sampling: stages 3 and 5, `"detector"` (Gaussian lens, box detector) or
        `"bicubic"`, the antialiased down-sampling of most studies, a = -1/2.
      sensor: of `SENSOR_MTF`, whose MTF each band gets along both axes; "": the two
        that follow.
      mtf_along: MTF of lens and detector at LR Nyquist along the satellite's way (the
        columns), 0.01 to 1; .07 to .20 is typical of panchromatic sensors.
      mtf_across: along the rows.
      image_mtf: MTF of the HR image at its own Nyquist frequency, 0.01 to 1; the lens
        adds no blur that is there already. 1: there is none.
      smear_prob: of stage 4.
      smear: motion along the columns during exposure, in LR pixels.
      full_well: stage 6, electrons at 1. Drawn also if no noise is: stages 7 and 9
        follow what it would be.
      read_noise: standard deviation in electrons.
      noise_prob: of stage 6: photons, read-out, columns and digitisation.
      column_gain: standard deviation of the detector columns' gains.
      column_offset: of their offsets, of full scale 1.
      bits: of the converter, whole numbers.
      compress_prob: of stage 7, on board.
      compress_kinds: equally likely ones of `"wavelet"` and `"jpeg"`.
      compress_threshold: of wavelet coefficients, in standard deviations of the noise.
      compress_quality: of JPEG, whole numbers.
      destripe_prob: of stage 8.
      destripe_residual: share of the columns' errors that is left (our choice).
      denoise_prob: of stage 9, a bilateral filter.
      denoise_strength: its width in value, in standard deviations of the noise (our
        choice).
      sharpen_prob: of stage 10, an unsharp mask that restores MTF.
      sharpen_amount: of what the blurred image lacks.
      sharpen_sigma: standard deviation of its Gaussian in LR pixels.
      pansharpen_prob: of stage 11, for three bands or more.
      pansharpen_methods: equally likely ones of `"brovey"`, `"gsa"`, `"hpm"`.
      ms_mtf: MTF of the colour bands at the Nyquist frequency of their pixels, which
        are four LR pixels wide.
      pan_mtf: what the panchromatic band keeps of the MTF that stages 3 to 5 left, at
        LR Nyquist (our choice).
      resample_prob: of stage 12, to a turned grid and back.
      resample_rotation: in degrees.
      resample_zoom: factor.
      resample_odds: of `"bilinear"`, `"cubic"` and `"lanczos"`.
      tone_prob: of stage 13, one curve for LR image and target.
      tone_tails: share of the LR values that the stretch clips at either end.
      gamma: exponent after it.
      s_curve_prob: of an S-curve after that (our choice).
      contrast: of the S-curve, 0 to 1 (our choice).
      haze: grey that is added, or if below 0 taken away, last.
      quantize: stage 14, whether the LR image is rounded to 8 bits; JPEG always is.
      delivery_prob: of stage 15.
      delivery_quality: of its JPEG, whole numbers.
      delivery_subsampling: equally likely ones, for three bands; of other numbers each
        band is a file of its own.
    """

    scale: int = 2
    linearize: str = "auto"
    geometry_prob: float = 1.0
    shift: Range = (-0.5, 0.5)
    rotation: Range = (-5.0, 5.0)
    zoom: Range = (0.97, 1.03)
    sampling: str = "detector"
    sensor: str = ""
    mtf_along: Range = (0.07, 0.20)
    mtf_across: Range = (0.07, 0.20)
    image_mtf: Range = 1.0
    smear_prob: float = 1.0
    smear: Range = (0.0, 1.0)
    full_well: Range = (20_000.0, 60_000.0)
    read_noise: Range = (10.0, 40.0)
    noise_prob: float = 1.0
    column_gain: Range = 0.002
    column_offset: Range = 0.0005
    bits: Range = (11, 12)
    compress_prob: float = 0.5
    compress_kinds: Sequence[str] = ("wavelet", "jpeg")
    compress_threshold: Range = (0.0, 1.5)
    compress_quality: Range = (85, 98)
    destripe_prob: float = 1.0
    destripe_residual: Range = (0.0, 0.3)
    denoise_prob: float = 0.5
    denoise_strength: Range = (1.0, 3.0)
    sharpen_prob: float = 1.0
    sharpen_amount: Range = (0.0, 1.2)
    sharpen_sigma: Range = (0.7, 1.0)
    pansharpen_prob: float = 0.5
    pansharpen_methods: Sequence[str] = METHODS
    ms_mtf: Range = 0.3
    pan_mtf: Range = (0.8, 1.0)
    resample_prob: float = 1.0
    resample_rotation: Range = (-10.0, 10.0)
    resample_zoom: Range = (0.9, 1.1)
    resample_odds: Sequence[float] = (0.2, 0.6, 0.2)
    tone_prob: float = 1.0
    tone_tails: Range = (0.01, 0.02)
    gamma: Range = 1 / 2.2
    s_curve_prob: float = 0.5
    contrast: Range = (0.2, 0.6)
    haze: Range = (-0.05, 0.05)
    quantize: bool = True
    delivery_prob: float = 0.7
    delivery_quality: Range = (75, 95)
    delivery_subsampling: Sequence[str] = ("4:2:0", "4:4:4")

    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {
        "shift": (-16, 16),
        "rotation": (-180, 180),
        "zoom": (0.5, 2),
        "mtf_along": (0.01, 1),
        "mtf_across": (0.01, 1),
        "image_mtf": (0.01, 1),
        "smear": (0, MAX_SMEAR),
        "full_well": (100, 1e7),
        "read_noise": (0, 1000),
        "column_gain": (0, 0.1),
        "column_offset": (0, 0.1),
        "bits": (6, 16),
        "compress_threshold": (0, 20),
        "compress_quality": (1, 100),
        "destripe_residual": _SHARE,
        "denoise_strength": (0, 20),
        "sharpen_amount": (0, 5),
        "sharpen_sigma": (0.3, 5),
        "ms_mtf": (0.01, 1),
        "pan_mtf": (0.01, 1),
        "resample_rotation": (-180, 180),
        "resample_zoom": (0.5, 2),
        "tone_tails": (0, 0.2),
        "gamma": (0.2, 5),
        "contrast": _SHARE,
        "haze": (-0.5, 0.5),
        "delivery_quality": (1, 100),
    }
    WHOLE: ClassVar[tuple[str, ...]] = ("bits", "compress_quality", "delivery_quality")
    CHOICES: ClassVar[Mapping[str, Sequence[str]]] = {
        "linearize": ("auto", "always", "never"),
        "sampling": ("detector", "bicubic"),
        "sensor": ("", *SENSOR_MTF),
    }
    LISTS: ClassVar[Mapping[str, Sequence[str]]] = {
        "compress_kinds": ("wavelet", "jpeg"),
        "pansharpen_methods": METHODS,
        "delivery_subsampling": SUBSAMPLINGS,
    }

    def __post_init__(self):
        check(self)
        if not isinstance(self.quantize, bool):
            raise ConfigError(f"quantize={self.quantize!r} must be True or False")
        check_odds("resample_odds", self.resample_odds, len(INTERPOLATIONS))


def check(config: Any) -> None:
    """Refuses fields that cannot be, by the tables of the config's class.

    Those are `LIMITS`, `WHOLE`, `CHOICES` and `LISTS`; names that end in `_prob` and
    the scale need none.

    Raises:
      ConfigError: names the first field.
    """
    check_scale(config.scale)
    for field in dataclasses.fields(config):
        name, value = field.name, getattr(config, field.name)
        if name.endswith("_prob"):
            if isinstance(value, Sequence):
                raise ConfigError(f"{name}={value!r} must be one number in [0, 1]")
            check_range(name, value, _SHARE)
        elif name in config.LIMITS:
            check_range(name, value, config.LIMITS[name])
    for name in config.WHOLE:
        if any(not end.is_integer() for end in ends(getattr(config, name))):
            raise ConfigError(f"{name}={getattr(config, name)!r} must be whole numbers")
    for name, choices in config.CHOICES.items():
        if getattr(config, name) not in choices:
            raise ConfigError(unknown(name, str(getattr(config, name)), choices))
    for name, choices in config.LISTS.items():
        chosen = getattr(config, name)
        if isinstance(chosen, str) or not isinstance(chosen, Sequence) or not chosen:
            raise ConfigError(f"{name}={chosen!r} must be a list of {list(choices)}")
        for item in chosen:
            if item not in choices:
                raise ConfigError(unknown(name, str(item), choices))


def check_scale(scale: Any) -> None:
    """Refuses a scale that is not a whole number from 1 to `MAX_SCALE`."""
    whole = isinstance(scale, int | np.integer) and not isinstance(scale, bool)
    if not whole or not 1 <= scale <= MAX_SCALE:
        raise ConfigError(f"scale={scale!r} must be a whole number, 1 to {MAX_SCALE}")


def check_range(name: str, value: Any, limits: tuple[float, float]) -> None:
    """Refuses what is not a number or a pair (low, high) between the limits."""
    pair = value if isinstance(value, Sequence) else (value, value)
    numeric = len(pair) == 2 and all(map(_is_number, pair))
    # Written so that a NaN fails.
    if not (numeric and limits[0] <= pair[0] <= pair[1] <= limits[1]):
        raise ConfigError(
            f"{name}={value!r} must be a number or a pair (low, high) in "
            f"[{limits[0]:g}, {limits[1]:g}]"
        )


def check_odds(name: str, odds: Any, length: int) -> None:
    """Refuses what are not so many numbers of at least 0, one of them above."""
    listed = isinstance(odds, Sequence) and not isinstance(odds, str)
    if (
        not listed
        or len(odds) != length
        or not all(_is_number(x) and 0 <= x < float("inf") for x in odds)
        or not any(odds)
    ):
        raise ConfigError(f"{name}={odds!r} must be {length} numbers of at least 0")


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
