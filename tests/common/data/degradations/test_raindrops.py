"""Drops cover their share, leave the rest alone, and show the scene reversed."""

import numpy as np
import pytest
from skimage import data

from common.data.degradations.raindrops import Raindrops
from common.data.degradations.srgb import to_linear


@pytest.fixture(scope="module")
def photo():
    return data.astronaut()[:256, 100:356].astype(np.float32) / 255


def test_outside_drops_nothing_changes(photo):
    drops = Raindrops(coverage=0.1, radius=10, defocus=1.0)
    changed = np.any(drops(photo, np.random.default_rng(0)) != photo, axis=-1)
    assert 0.05 < changed.mean() < 0.35
    # No drop, no change.
    none = Raindrops(coverage=0)(photo, np.random.default_rng(0))
    np.testing.assert_array_equal(none, photo)


@pytest.mark.parametrize("radius", [8, (5, 15)])
def test_coverage_is_the_area_of_drops(radius):
    """Overlaps counted twice: a covered share c leaves exp(-c) free."""
    white = np.ones((256, 256, 3), np.float32)
    free = [
        # Drops lose light at the rim only, so their outline is where the mask is.
        np.mean(Raindrops(0.3, radius, 3, 0)._optics(256, 256, 3.0, rng)[3] == 0)
        for rng in map(np.random.default_rng, range(12))
    ]
    assert np.mean(free) == pytest.approx(np.exp(-0.3), abs=0.02)
    seen = Raindrops(0.3, radius, 3, 0)(white, np.random.default_rng(0))
    assert seen.max() <= 1
    assert 0.5 < seen.min() < 0.9


def test_a_drop_shows_the_scene_upside_down():
    """One big drop over ramps: inside it they run the other way, and steeper."""
    ramp = np.linspace(0.2, 0.8, 201, dtype=np.float32)
    scene = np.stack(
        [np.tile(ramp, (201, 1)), np.tile(ramp[:, None], (1, 201)), np.full((201,) * 2,
         np.float32(0.5))], -1,
    )  # fmt: skip

    class Rng(np.random.Generator):
        """One drop in the middle, everything else as drawn."""

        def __init__(self):
            super().__init__(np.random.PCG64(0))

        def poisson(self, *_):
            return 1

        def uniform(self, low, high):
            return (low + high) / 2

    result = Raindrops(0.2, 40, 3.0, 0)(scene, Rng())
    light, before = to_linear(result), to_linear(scene)
    inside = slice(80, 121)
    for channel, line in ((0, light[100, inside, 0]), (1, light[inside, 100, 1])):
        original = before[100, inside, 0] if channel == 0 else before[inside, 100, 1]
        assert np.all(np.diff(line) < 0)
        # Half the view at the centre, more to the rim.
        slope = (line[0] - line[-1]) / (original[-1] - original[0])
        assert 1.4 < slope < 2.5
    # Outside the drop nothing, and what has no structure keeps its value inside.
    np.testing.assert_array_equal(result[:20], scene[:20])
    assert result[100, 100, 2] == pytest.approx(0.5, abs=1e-3)


def test_defocus_softens_the_outline():
    """On white a drop is seen by its darker rim alone."""
    white = np.ones((128, 128, 3), np.float32)

    def sharpest(defocus):
        drops = Raindrops(0.2, 20, 3, defocus)
        seen = drops(white, np.random.default_rng(1))
        return np.abs(np.diff(seen, axis=1)).max()

    assert sharpest(0.0) > 0.15
    assert sharpest(2.0) < 0.04
