"""From the scene to what is sent down: stages 2 to 7."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from common.data.degradations.noise import count
from enhancement import satellite_codec as codec
from enhancement import satellite_geometry as geometry
from enhancement import satellite_optics as optics
from enhancement.satellite_config import SatelliteConfig
from enhancement.satellite_draws import Draws


@dataclasses.dataclass(frozen=True)
class Exposure:
    """What the ground station knows of how an image was taken.

    Attributes:
      sigma: standard deviation of the sensor's noise at the image's mean; what it
        would be, if no noise was added.
      gain: of the detector columns, float32 `[1, w, 1]`.
      offset: theirs, of full scale 1.
    """

    sigma: float
    gain: np.ndarray
    offset: np.ndarray


def noise_variance(
    signal: np.ndarray | float, full_well: float, read_noise: float
) -> np.ndarray | float:
    """Returns the variance of photon and read-out noise, in squares of full scale.

    Args:
      signal: of full scale 1.
      full_well: electrons at 1.
      read_noise: standard deviation in electrons.
    """
    return signal / full_well + (read_noise / full_well) ** 2


def view(draws: Draws, light: np.ndarray, config: SatelliteConfig) -> np.ndarray:
    """Returns the HR image as the satellite sees it (stage 2), also the target.

    The shift is a multiple of LR pixels, rotation and zoom are about the centre, and
    what comes in over the border is mirrored.
    """
    stage = draws.stage("geometry")
    if not stage.runs(config.geometry_prob):
        return light
    right = stage.number("shift_right", config.shift) * config.scale
    down = stage.number("shift_down", config.shift) * config.scale
    rotation = stage.number("rotation", config.rotation)
    matrix = geometry.similarity(stage.number("zoom", config.zoom), rotation)
    # Lanczos, the sharpest there is: the target should not lose much.
    moved = geometry.warp(light, matrix, (right, down), interpolation="lanczos")
    return np.clip(moved, 0, 1)


def image(draws: Draws, light: np.ndarray, config: SatelliteConfig) -> np.ndarray:
    """Returns what falls on the detectors, float32 `[H / s, W / s, C]` (3 to 5)."""
    smear, length = draws.stage("smear"), 0.0
    if smear.runs(config.smear_prob):
        length = smear.number("length", config.smear)
    if config.sampling == "bicubic":
        across = optics.bicubic_taps(config.scale)
        motion = optics.smear_taps(length, config.scale)
        return optics.sample(light, np.convolve(across, motion), across, config.scale)
    lens = draws.stage("lens")
    own = lens.number("image_mtf", config.image_mtf)
    if config.sensor:
        lens.keep("sensor", config.sensor)
        mtf = optics.sensor_mtf(config.sensor, light.shape[2])
        pairs = [(value, value) for value in mtf]
    else:
        along = lens.number("mtf_along", config.mtf_along)
        pairs = [(along, lens.number("mtf_across", config.mtf_across))]
    scale = config.scale
    columns = [optics.line_spread(along, scale, own, length) for along, _ in pairs]
    rows = [optics.line_spread(across, scale, own) for _, across in pairs]
    return optics.sample(light, optics.stack(columns), optics.stack(rows), scale)


def expose(
    draws: Draws, light: np.ndarray, config: SatelliteConfig
) -> tuple[np.ndarray, Exposure]:
    """Returns the digital image and what is known of it (stage 6)."""
    sensor = draws.stage("sensor")
    full_well = sensor.number("full_well", config.full_well)
    read_noise = sensor.number("read_noise", config.read_noise)
    mean = float(np.clip(light, 0, 1).mean())
    sigma = math.sqrt(noise_variance(mean, full_well, read_noise))
    columns = (1, light.shape[1], 1)
    gain, offset = np.ones(columns, np.float32), np.zeros(columns, np.float32)
    stage = draws.stage("noise")
    if not stage.runs(config.noise_prob):
        return light, Exposure(sigma, gain, offset)
    stripes = draws.stage("columns")
    spread = stripes.number("gain", config.column_gain)
    gain += np.float32(spread) * stripes.rng.standard_normal(columns, np.float32)
    spread = stripes.number("offset", config.column_offset)
    offset += np.float32(spread) * stripes.rng.standard_normal(columns, np.float32)
    steps = np.float32(2 ** stage.whole("bits", config.bits) - 1)
    # Bicubic sampling overshoots; there is no light below 0.
    read = count(np.maximum(light, 0), full_well, read_noise, stage.rng)
    levels = np.rint(np.clip(read * gain + offset, 0, 1) * steps)
    return levels / steps, Exposure(sigma, gain, offset)


def compress(
    draws: Draws, taken: np.ndarray, exposure: Exposure, config: SatelliteConfig
) -> np.ndarray:
    """Returns what is left of the image after compression on board (stage 7)."""
    stage = draws.stage("compress")
    if not stage.runs(config.compress_prob):
        return taken
    if stage.choice("kind", config.compress_kinds) == "wavelet":
        threshold = stage.number("threshold", config.compress_threshold)
        return codec.haar_shrink(taken, threshold * exposure.sigma)
    return codec.jpeg_bands(taken, stage.whole("quality", config.compress_quality))
