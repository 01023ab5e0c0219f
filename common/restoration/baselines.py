"""Classical methods, scored beside a network on the same images."""

from __future__ import annotations

import numpy as np

from common.config import unknown
from common.data.degradations import Degradation, GaussianNoise
from common.errors import ConfigError

BASELINES = ("nl_means",)


def check(name: str, degradation: Degradation | None) -> None:
    """Refuses a baseline that does not exist, or does not know its noise.

    Raises:
      ConfigError: it is one of the two.
    """
    if name not in BASELINES:
        raise ConfigError(unknown("config.evaluation.baseline", name, BASELINES))
    if not isinstance(degradation, GaussianNoise) or isinstance(
        degradation.sigma, tuple | list
    ):
        raise ConfigError(
            f"the baseline {name} needs gaussian_noise of one sigma, the degradation "
            f"is {degradation}"
        )


def run(name: str, image: np.ndarray, degradation: Degradation | None) -> np.ndarray:
    """Restores `[H, W, 3]` in [0, 1] with a method that is told the true noise.

    Non-local means compares patches of 5 pixels up to 6 pixels away, weighted by their
    distance from the centre (not the fast mode), with h = 0.8 sigma: of the settings in
    scikit-image's example those that did best on the held out photographs.
    """
    check(name, degradation)
    from skimage import restoration

    assert isinstance(degradation, GaussianNoise)
    sigma = float(degradation.sigma) / 255  # type: ignore[arg-type]
    return restoration.denoise_nl_means(
        image,
        h=0.8 * sigma,
        sigma=sigma,
        patch_size=5,
        patch_distance=6,
        fast_mode=False,
        channel_axis=-1,
    )
