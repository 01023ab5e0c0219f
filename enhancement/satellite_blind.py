"""The blind second-order degradation of Real-ESRGAN, for comparison.

Wang et al. 2021, arXiv 2107.10833: blur, resize, noise and JPEG, twice, the last JPEG
before or after a sinc filter. It knows nothing of satellites. Numbers are those of the
public x4 configuration, used for any scale.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from scipy import special

from common.data.degradations import filters
from common.data.degradations.base import Range, ends
from enhancement import satellite_codec as codec
from enhancement.satellite_config import check, check_odds
from enhancement.satellite_draws import Draws, Stage
from enhancement.satellite_geometry import by_four_bands

KERNELS = (
    "iso", "aniso", "general_iso", "general_aniso", "plateau_iso", "plateau_aniso",
)  # fmt: skip
# Section 3.1 of the paper: kernels have odd sides from 7 to 21, and the exponents of
# generalised and plateau-shaped Gaussians these ranges.
_RADII = (3, 10)
_EXPONENTS = {"general": (0.5, 4.0), "plateau": (1.0, 2.0)}
# Section 3.4: cut-off frequencies of sinc filters in radians per pixel; small kernels,
# below 13 pixels, cannot do low ones.
_CUTOFF_LARGE, _CUTOFF_SMALL = (math.pi / 5, math.pi), (math.pi / 3, math.pi)
_SMALL_RADIUS = 6


@dataclasses.dataclass(frozen=True)
class BlindConfig:
    """The numbers of the model; those that end in 2 are of the second round.

    Attributes:
      scale: HR pixels in an LR pixel along each side, 1 to 8.
      kernel_odds: of `KERNELS`.
      sinc_prob: of a sinc filter instead of a Gaussian.
      sigma: of Gaussians in pixels.
      sigma2: likewise.
      blur2_prob: of a second blur.
      resize_odds: of growing, shrinking and keeping the size.
      resize_odds2: likewise.
      resize: factor, of the HR size.
      resize2: factor, of the LR size.
      gaussian_prob: of Gaussian noise, else it is Poisson noise.
      gaussian: standard deviation in levels of 255.
      gaussian2: likewise.
      poisson: factor on Poisson noise.
      poisson2: likewise.
      grey_prob: of noise that is the same in all bands.
      quality: of JPEG, whole numbers.
      final_sinc_prob: of the sinc filter at the end.
    """

    scale: int = 2
    kernel_odds: Sequence[float] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    sinc_prob: float = 0.1
    sigma: Range = (0.2, 3.0)
    sigma2: Range = (0.2, 1.5)
    blur2_prob: float = 0.8
    resize_odds: Sequence[float] = (0.2, 0.7, 0.1)
    resize_odds2: Sequence[float] = (0.3, 0.4, 0.3)
    resize: Range = (0.15, 1.5)
    resize2: Range = (0.3, 1.2)
    gaussian_prob: float = 0.5
    gaussian: Range = (1.0, 30.0)
    gaussian2: Range = (1.0, 25.0)
    poisson: Range = (0.05, 3.0)
    poisson2: Range = (0.05, 2.5)
    grey_prob: float = 0.4
    quality: Range = (30, 95)
    final_sinc_prob: float = 0.8

    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {
        "sigma": (0.1, 10),
        "sigma2": (0.1, 10),
        "resize": (0.05, 4),
        "resize2": (0.05, 4),
        "gaussian": (0, 255),
        "gaussian2": (0, 255),
        "poisson": (0, 100),
        "poisson2": (0, 100),
        "quality": (1, 100),
    }
    WHOLE: ClassVar[tuple[str, ...]] = ("quality",)
    CHOICES: ClassVar[Mapping[str, Sequence[str]]] = {}
    LISTS: ClassVar[Mapping[str, Sequence[str]]] = {}

    def __post_init__(self):
        check(self)
        check_odds("kernel_odds", self.kernel_odds, len(KERNELS))
        check_odds("resize_odds", self.resize_odds, 3)
        check_odds("resize_odds2", self.resize_odds2, 3)


def degrade(draws: Draws, image: np.ndarray, config: BlindConfig) -> np.ndarray:
    """Returns the LR image, float32 `[H / s, W / s, C]`, of one in [0, 1]."""
    size = (image.shape[0], image.shape[1])
    small = (size[0] // config.scale, size[1] // config.scale)
    image = _blur(draws.stage("blur"), image, config.sigma, config, 1.0)
    image = _resize(
        draws.stage("resize"), image, size, config.resize, config.resize_odds
    )
    image = _noise(draws.stage("noise"), image, config.gaussian, config.poisson, config)
    image = _jpeg(draws.stage("jpeg"), image, config)
    image = _blur(draws.stage("blur2"), image, config.sigma2, config, config.blur2_prob)
    image = _resize(
        draws.stage("resize2"), image, small, config.resize2, config.resize_odds2
    )
    image = _noise(
        draws.stage("noise2"), image, config.gaussian2, config.poisson2, config
    )
    order = draws.stage("order").choice("last", ("jpeg", "sinc"))
    if order == "sinc":
        image = _jpeg(draws.stage("jpeg2"), image, config)
    image = _finish(draws.stage("sinc"), image, small, config)
    if order == "jpeg":
        image = _jpeg(draws.stage("jpeg2"), image, config)
    return image


def sinc_kernel(cutoff: float, radius: int) -> np.ndarray:
    """Returns a circular low-pass filter that rings: float64, odd square, sum 1.

    Args:
      cutoff: in radians per pixel, up to pi.
      radius: of the square in pixels.
    """
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    distance = np.hypot(x, y)
    distance[radius, radius] = 1  # replaced by the limit
    kernel = cutoff * special.j1(cutoff * distance) / (2 * np.pi * distance)
    kernel[radius, radius] = cutoff**2 / (4 * np.pi)
    return kernel / kernel.sum()


def gaussian_kernel(
    sigmas: tuple[float, float], angle: float, radius: int, kind: str, exponent: float
) -> np.ndarray:
    """Returns a turned Gaussian or its relative: float64, odd square, sum 1.

    Args:
      sigmas: standard deviations along both axes in pixels.
      angle: of the first axis, in radians.
      radius: of the square in pixels.
      kind: `"gaussian"`, `exp(-q / 2)` of the squared distance q in standard
        deviations; `"general"`, `exp(-q**exponent / 2)`; or `"plateau"`,
        `1 / (1 + q**exponent)`.
      exponent: of the latter two.
    """
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    along = (x * math.cos(angle) + y * math.sin(angle)) / sigmas[0]
    across = (y * math.cos(angle) - x * math.sin(angle)) / sigmas[1]
    distance = along**2 + across**2
    if kind == "plateau":
        kernel = 1 / (1 + distance**exponent)
    else:
        power = distance if kind == "gaussian" else distance**exponent
        kernel = np.exp(-power / 2)
    return kernel / kernel.sum()


def _blur(
    stage: Stage, image: np.ndarray, sigma: Range, config: BlindConfig, prob: float
) -> np.ndarray:
    if not stage.runs(prob):
        return image
    radius = stage.whole("radius", _RADII)
    if stage.rng.random() < config.sinc_prob:
        stage.keep("kernel", "sinc")
        return _convolve(image, _sinc(stage, radius))
    shape = stage.choice("kernel", KERNELS, config.kernel_odds)
    first = stage.number("sigma", sigma)
    sigmas, angle = (first, first), 0.0
    if shape.endswith("aniso"):
        sigmas = (first, stage.number("sigma_second", sigma))
        angle = stage.number("angle", (-math.pi, math.pi))
    kind, exponent = "gaussian", 1.0
    if "_" in shape:
        kind = shape.partition("_")[0]
        exponent = stage.number("exponent", _EXPONENTS[kind])
    return _convolve(image, gaussian_kernel(sigmas, angle, radius, kind, exponent))


def _convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    # OpenCV drops the axis of a single band.
    return filters.convolve(image, kernel).reshape(image.shape)


def _sinc(stage: Stage, radius: int) -> np.ndarray:
    limits = _CUTOFF_SMALL if radius < _SMALL_RADIUS else _CUTOFF_LARGE
    return sinc_kernel(stage.number("cutoff", limits), radius)


def _resize(
    stage: Stage,
    image: np.ndarray,
    size: tuple[int, int],
    factors: Range,
    odds: Sequence[float],
) -> np.ndarray:
    """Returns the image in `size`, times a factor drawn from one side of 1."""
    low, high = ends(factors)
    change = stage.choice("change", ("up", "down", "keep"), odds)
    factor = 1.0
    if change == "up":
        factor = stage.number("factor", (1.0, max(high, 1.0)))
    elif change == "down":
        factor = stage.number("factor", (min(low, 1.0), 1.0))
    height, width = (max(round(side * factor), 1) for side in size)
    return _to_size(stage, image, (height, width))


def _to_size(stage: Stage, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    cv2 = filters.opencv()
    modes = {
        "area": cv2.INTER_AREA,
        "bilinear": cv2.INTER_LINEAR,
        "bicubic": cv2.INTER_CUBIC,
    }
    mode = stage.choice("mode", tuple(modes))

    def part(bands: np.ndarray) -> np.ndarray:
        return cv2.resize(bands, size[::-1], interpolation=modes[mode])

    return by_four_bands(part, image)


def _noise(
    stage: Stage,
    image: np.ndarray,
    sigma: Range,
    factor: Range,
    config: BlindConfig,
) -> np.ndarray:
    """Returns the image with one of two kinds of noise, clipped."""
    image = np.clip(image, 0, 1)
    gaussian = stage.rng.random() < config.gaussian_prob
    grey = int(stage.rng.random() < config.grey_prob)
    stage.keep("kind", "gaussian" if gaussian else "poisson")
    stage.keep("grey", grey)
    source = image.mean(2, keepdims=True) if grey else image
    if gaussian:
        level = np.float32(stage.number("sigma", sigma) / 255)
        noise = level * stage.rng.standard_normal(source.shape, np.float32)
    else:
        # As many photons at white as there are levels of 8 bits in the image, rounded
        # up to a power of two.
        used = len(np.unique(np.rint(source * 255).astype(np.uint8)))
        photons = 2.0 ** math.ceil(math.log2(used))
        counted = (stage.rng.poisson(source * photons) / photons).astype(np.float32)
        noise = np.float32(stage.number("factor", factor)) * (counted - source)
    return np.clip(image + noise, 0, 1)


def _jpeg(stage: Stage, image: np.ndarray, config: BlindConfig) -> np.ndarray:
    return codec.jpeg(image, stage.whole("quality", config.quality), "4:2:0")


def _finish(
    stage: Stage, image: np.ndarray, size: tuple[int, int], config: BlindConfig
) -> np.ndarray:
    """Returns the image in its last size and, with a probability, ringing."""
    runs = stage.runs(config.final_sinc_prob)
    image = _to_size(stage, image, size)
    if runs:
        radius = stage.whole("radius", _RADII)
        # The filter of the paper's end is drawn as for large kernels whatever its size.
        kernel = sinc_kernel(stage.number("cutoff", _CUTOFF_SMALL), radius)
        image = _convolve(image, kernel)
    return np.clip(image, 0, 1)
