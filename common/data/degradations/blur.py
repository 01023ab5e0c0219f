"""Blur by motion: a straight move, and the shaking of a hand-held camera.

Both blur light: stored values are linearised before and encoded after. The path is
centred on its mean, so that the blurred picture stays where the sharp one is.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np

from common.data.degradations import filters
from common.data.degradations.base import Degradation, Range, draw
from common.data.degradations.srgb import to_linear, to_srgb

# Points of the path for each pixel of its length.
_DENSITY = 8

# Boracchi and Foi 2012 (doi 10.1109/TIP.2012.2192126), section "trajectories", with
# the values of the code that goes with it: the number of steps, the largest pull to
# the centre, the largest random acceleration and the largest chance of a jerk.
_STEPS = 2000
_PULL, _PUSH, _JERKS = 0.7, 10.0, 0.2


@dataclasses.dataclass(frozen=True)
class MotionBlur(Degradation):
    """The blur of a camera or scene that moves straight and evenly.

    Attributes:
      length: of the move in pixels, 0 to 200.
      angle: of the move in degrees, counter-clockwise from the horizontal, -360 to
        360. A move and its reverse look alike.
    """

    length: Range = (5.0, 25.0)
    angle: Range = (0.0, 180.0)

    LIMITS: ClassVar = {"length": (0, 200), "angle": (-360, 360)}

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the blurred image."""
        length, angle = draw(self.length, rng), draw(self.angle, rng)
        return _blurred(clean, straight(length, angle))


@dataclasses.dataclass(frozen=True)
class CameraShake(Degradation):
    """The blur of a hand that trembles while the shutter is open.

    The camera's path is random as in Boracchi and Foi 2012; see `shaken`.

    Attributes:
      length: of the path in pixels, 0 to 200. The blur is smaller than that, the
        path being bent.
      anxiety: how much the direction changes, 0 (a straight move) to 1. The default is
        our choice: of the original's, 0 to 0.1, most paths are knots of three pixels.
    """

    length: Range = (10.0, 60.0)
    anxiety: Range = (0.0, 0.01)

    LIMITS: ClassVar = {"length": (0, 200), "anxiety": (0, 1)}

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the blurred image."""
        length, anxiety = draw(self.length, rng), draw(self.anxiety, rng)
        return _blurred(clean, shaken(length, anxiety, rng))


def straight(length: float, angle: float) -> np.ndarray:
    """Returns points of a straight path: complex, x to the right, y downwards.

    Args:
      length: in pixels.
      angle: in degrees, counter-clockwise as one sees it.
    """
    turn = complex(math.cos(math.radians(angle)), -math.sin(math.radians(angle)))
    points = math.ceil(length * _DENSITY) + 1
    # The middles of equal parts: their spread is that of the move, L**2 / 12.
    return ((np.arange(points) + 0.5) / points - 0.5) * length * turn


def shaken(length: float, anxiety: float, rng: np.random.Generator) -> np.ndarray:
    """Returns points of a trembling path of constant speed, as `straight` does.

    The velocity is changed at every step by a random push and a pull to the centre,
    both in proportion to `anxiety`, and now and then it is turned back by a jerk.
    """
    speed = length / (_STEPS - 1)
    pull, push = rng.uniform(0, _PULL), rng.uniform(0, _PUSH)
    jerks = rng.random(_STEPS) < rng.uniform(0, _JERKS) * anxiety
    turns = np.exp(1j * (math.pi + rng.uniform(-0.5, 0.5, _STEPS)))
    pushes = push * (rng.standard_normal(_STEPS) + 1j * rng.standard_normal(_STEPS))
    velocity = speed * complex(np.exp(2j * math.pi * rng.random()))
    place, path = 0j, np.zeros(_STEPS, complex)
    for step in range(1, _STEPS):
        change = anxiety * (pushes[step] - pull * place) * speed
        if jerks[step]:
            change += 2 * velocity * turns[step]
        velocity += change
        velocity *= speed / (abs(velocity) or 1.0)
        place += velocity
        path[step] = place
    return path - path.mean()


def kernel(path: np.ndarray) -> np.ndarray:
    """Returns the blur kernel of a path: float32, odd square, sum 1.

    Each point is shared among the four pixels around it, which adds to the spread
    of the path along each axis the variance of that sharing, at most 1/4 pixel.
    """
    reach = math.ceil(max(np.abs(path.real).max(), np.abs(path.imag).max()))
    side = 2 * reach + 3  # one more pixel all around for the sharing
    x, y = path.real + reach + 1, path.imag + reach + 1
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, low = x - left, y - top
    result = np.zeros((side, side))
    np.add.at(result, (top, left), (1 - low) * (1 - right))
    np.add.at(result, (top, left + 1), (1 - low) * right)
    np.add.at(result, (top + 1, left), low * (1 - right))
    np.add.at(result, (top + 1, left + 1), low * right)
    return (result / len(path)).astype(np.float32)


def _blurred(clean: np.ndarray, path: np.ndarray) -> np.ndarray:
    light = filters.convolve(to_linear(clean), kernel(path))
    # What is left of a rounding error of the convolution.
    return to_srgb(np.clip(light, 0, 1))
