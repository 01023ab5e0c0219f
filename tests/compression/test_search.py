import math

import numpy as np
import pytest

from common.errors import DataError
from compression.search import Target, search

# A codec whose tables are flat and whose rate and quality are known.
CALLS = []


def learn(rate_weight, start):
    CALLS.append((rate_weight, start))
    step = np.clip(math.sqrt(6 * rate_weight / math.log(2)), 1, 255)
    return np.log(np.full((2, 8, 8), step))


def bpp(tables):
    return 8 / tables[0, 0, 0] ** 0.8


def psnr(tables):
    return 50 - 15 * math.log10(tables[0, 0, 0])


@pytest.mark.parametrize("target", [0.2, 0.5, 1.0, 3.0, 6.0])
def test_files_are_as_large_as_allowed(target):
    found = search(Target("bpp", target), learn, bpp)
    assert bpp(found.tables) <= target
    finer = found.tables - 1  # the next that a file can hold would be too large
    assert bpp(finer) > target


@pytest.mark.parametrize("target", [18, 25.0, 33.3, 45.0])
def test_quality_is_just_reached(target):
    found = search(Target("psnr", target), learn, psnr)
    assert psnr(found.tables) >= target
    assert psnr(found.tables + 1) < target


def test_each_weight_starts_from_the_nearest():
    CALLS.clear()
    search(Target("bpp", 0.5), learn, bpp)
    assert CALLS[0][1] is None
    for weight, start in CALLS[1:]:
        theory = math.sqrt(6 * weight / math.log(2))
        assert start == pytest.approx(min(theory, 255), rel=1e-6)


@pytest.mark.parametrize(
    ("target", "measure", "reached"),
    [
        (Target("bpp", 0.01), bpp, "0.09503"),
        (Target("psnr", 60), psnr, "50"),
    ],
)
def test_what_cannot_be_reached_is_said(target, measure, reached):
    with pytest.raises(DataError, match=rf"cannot be reached: .* {reached}"):
        search(target, learn, measure)


def test_easy_targets_get_the_best_there_is():
    assert (search(Target("bpp", 100), learn, bpp).tables == 1).all()
    assert (search(Target("psnr", 1), learn, psnr).tables == 255).all()
