"""Pairs for super-resolution of satellite images: what a product makes of a scene.

Zhu et al. 2020 (arXiv 2002.11248) train on pairs made by a model of the imaging on
board and of the processing on the ground. `degrade` is such a model, in fifteen stages
that `satellite_config.SatelliteConfig` describes and `satellite_sensor` and
`satellite_ground` do; the package's README has them in a table.

    config = satellite.preset("full", scale=2, sensor="worldview3")
    lr, target, meta = satellite.degrade((seed, index), image, config)

Host code: NumPy, SciPy, OpenCV and Pillow, fit for an input pipeline.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from common.config import unknown
from common.data.degradations.srgb import to_linear, to_srgb
from common.errors import ConfigError, DataError
from enhancement import satellite_blind, satellite_ground, satellite_sensor
from enhancement.satellite_blind import BlindConfig
from enhancement.satellite_config import SatelliteConfig
from enhancement.satellite_draws import Draws, Meta

# Pixels of the LR image's shorter side; below, borders are most of it. Our choice.
MIN_SIDE = 8

_NOTHING_ON_BOARD = {
    "geometry_prob": 0.0,
    "sampling": "bicubic",
    "smear_prob": 0.0,
    "noise_prob": 0.0,
    "compress_prob": 0.0,
}
_NOTHING_ON_GROUND = {
    "destripe_prob": 0.0,
    "denoise_prob": 0.0,
    "sharpen_prob": 0.0,
    "pansharpen_prob": 0.0,
    "resample_prob": 0.0,
    "tone_prob": 0.0,
    "quantize": False,
    "delivery_prob": 0.0,
}
# Name -> class, and the fields that differ from its defaults.
PRESETS: dict[str, tuple[type, dict[str, Any]]] = {
    # Down-sampling of the stored values, as in most studies.
    "ideal_bicubic": (
        SatelliteConfig,
        {"linearize": "never", **_NOTHING_ON_BOARD, **_NOTHING_ON_GROUND},
    ),
    "onboard_only": (SatelliteConfig, _NOTHING_ON_GROUND),
    # In light, which stage 13 expects: our choice.
    "ground_only": (SatelliteConfig, _NOTHING_ON_BOARD),
    "full": (SatelliteConfig, {}),
    "realesrgan": (BlindConfig, {}),
}


def preset(
    name: str, scale: int = 2, **overrides: Any
) -> SatelliteConfig | BlindConfig:
    """Returns the numbers of a degradation that has a name.

    Args:
      name: one of `PRESETS`: `ideal_bicubic`; `onboard_only`, stages 1 to 7;
        `ground_only`, stages 8 to 15 after bicubic down-sampling of light; `full`;
        `realesrgan`, a blind model of other people.
      scale: HR pixels in an LR pixel, 1 to 8.
      **overrides: fields of the class, `SatelliteConfig` or `BlindConfig`.

    Raises:
      ConfigError: unknown name or field, or a value that cannot be.
    """
    if name not in PRESETS:
        raise ConfigError(unknown("preset", str(name), PRESETS))
    kind, fields = PRESETS[name]
    known = [field.name for field in dataclasses.fields(kind)]
    for field in overrides:
        if field not in known:
            raise ConfigError(unknown(f"field of {kind.__name__}", field, known))
    return kind(**{**fields, "scale": scale, **overrides})


def degrade(
    key: Any, image: np.ndarray, config: SatelliteConfig | BlindConfig
) -> tuple[np.ndarray, np.ndarray, Meta]:
    """Returns a low-resolution product of an image, and the target for it.

    Args:
      key: an int of at least 0, a sequence of such, or a JAX random key. It alone
        decides: the same key gives the same result, bit for bit, and each stage has
        random numbers of its own, whichever others run.
      image: `[H, W, C]`, uint8, uint16 or float in [0, 1]; three bands are RGB. Sides
        are cut, at the bottom and on the right, to multiples of the scale, and have at
        least `MIN_SIDE` times that.
      config: of `preset`.

    Returns:
      lr: float32 `[h, w, C]` in [0, 1], h = H // scale, w = W // scale.
      hr_target: float32 `[h * scale, w * scale, C]` in [0, 1]. What moves the scene
        (stage 2) and its tone curve (stage 13) are in both.
      meta: every parameter that was drawn, as plain numbers and text.

    Raises:
      DataError: the image has another shape or type, is too small, or has values that
        are not finite or outside [0, 1].
      ConfigError: not a key, not a config, or a sensor without such bands.
    """
    if not isinstance(config, SatelliteConfig | BlindConfig):
        raise ConfigError(
            f"config is a {type(config).__name__}; satellite.preset makes one"
        )
    cut = _cut(image, config.scale)
    draws = Draws(key)
    draws.meta.update(scale=config.scale, bands=cut.shape[2])
    if isinstance(config, BlindConfig):
        target = _scaled(cut)
        lr = satellite_blind.degrade(draws, target, config)
    else:
        lr, target = _product(draws, cut, config)
    return _final(lr), _final(target), draws.meta


def _product(
    draws: Draws, pixels: np.ndarray, config: SatelliteConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Returns LR image and target, both of what the fifteen stages make."""
    srgb = config.linearize == "always" or (
        config.linearize == "auto" and pixels.dtype == np.uint8 and pixels.shape[2] == 3
    )
    draws.meta["linearize"] = int(srgb)
    light = satellite_sensor.view(draws, _light(pixels, srgb), config)
    lr = satellite_sensor.image(draws, light, config)
    lr, exposure = satellite_sensor.expose(draws, lr, config)
    lr = satellite_sensor.compress(draws, lr, exposure, config)
    lr = satellite_ground.restore(draws, lr, exposure, config)
    lr = satellite_ground.assemble(draws, lr, config)
    curve = satellite_ground.draw_tone(draws, lr, config)
    if curve is not None:
        lr, light = (satellite_ground.tone_curve(x, **curve) for x in (lr, light))
    elif srgb:
        lr, light = (to_srgb(np.clip(x, 0, 1)) for x in (lr, light))
    return satellite_ground.deliver(draws, np.clip(lr, 0, 1), config), light


def _cut(image: np.ndarray, scale: int) -> np.ndarray:
    """Returns the image cut to multiples of the scale, if it is one.

    Raises:
      DataError: it is not.
    """
    image = np.asarray(image)
    kinds = ("uint8", "uint16", "float16", "float32", "float64")
    if image.dtype.name not in kinds:
        raise DataError(f"image is {image.dtype}, not {' or '.join(kinds)}")
    if image.ndim != 3 or image.shape[2] < 1:
        raise DataError(f"image has shape {list(image.shape)}, not [H, W, C]")
    least = MIN_SIDE * scale
    if min(image.shape[:2]) < least:
        raise DataError(
            f"image of {image.shape[0]} x {image.shape[1]} pixels is too small: scale "
            f"{scale} needs {least} x {least}"
        )
    # Written so that a NaN fails.
    if image.dtype.kind == "f" and not (image.min() >= 0 and image.max() <= 1):
        raise DataError(
            f"image has values from {image.min():g} to {image.max():g}; floats are in "
            "[0, 1]"
        )
    height, width = (side // scale * scale for side in image.shape[:2])
    return image[:height, :width]


def _scaled(pixels: np.ndarray) -> np.ndarray:
    """Returns pixels of any type as float32 in [0, 1]."""
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32)
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def _light(pixels: np.ndarray, srgb: bool) -> np.ndarray:
    """Returns float32 light; of uint8 by table, which is ten times faster."""
    if not srgb:
        return _scaled(pixels)
    if pixels.dtype == np.uint8:
        return to_linear(_scaled(np.arange(256, dtype=np.uint8)))[pixels]
    return to_linear(_scaled(pixels))


def _final(image: np.ndarray) -> np.ndarray:
    return np.clip(image, 0, 1).astype(np.float32, copy=False)
