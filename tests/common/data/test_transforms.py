"""Host transforms against their definitions."""

import math

import numpy as np
import pytest
from PIL import Image
from skimage import data

from common.data import transforms
from common.errors import ConfigError


def rng(seed=0):
    return np.random.default_rng(seed)


def example(array):
    return {"image": Image.fromarray(array), "label": 3}


def photo():
    return Image.fromarray(data.astronaut()).crop((0, 0, 500, 375))


def test_random_crop_boxes_keep_area_and_ratio():
    crop = transforms.RandomResizedCrop(16, area=(0.1, 0.6), ratio=(0.5, 2.0))
    generator = rng()
    areas, ratios = [], []
    for _ in range(3000):
        left, top, right, bottom = crop._box(500, 500, generator)
        assert 0 <= left < right <= 500
        assert 0 <= top < bottom <= 500
        areas.append((right - left) * (bottom - top) / 500**2)
        ratios.append((right - left) / (bottom - top))
    assert 0.095 < min(areas) < 0.12
    assert 0.58 < max(areas) < 0.605
    assert abs(np.mean(areas) - 0.35) < 0.02  # uniform in the area
    assert 0.49 < min(ratios) < 0.53
    assert 1.9 < max(ratios) < 2.04
    assert abs(np.median(ratios) - 1) < 0.05  # uniform in the logarithm


def test_random_crop_is_a_resized_box_and_repeatable():
    image = photo()
    crop = transforms.RandomResizedCrop((20, 30))
    result = crop.random_map({"image": image}, rng(5))["image"]
    box = crop._box(500, 375, rng(5))
    expected = image.resize((30, 20), Image.Resampling.BICUBIC, box)
    assert result.size == (30, 20)
    np.testing.assert_array_equal(np.asarray(result), np.asarray(expected))
    other = crop.random_map({"image": image}, rng(6))["image"]
    assert np.any(np.asarray(other) != np.asarray(expected))


def test_random_crop_of_a_strip_falls_back_to_the_centre():
    crop = transforms.RandomResizedCrop(8, area=(1.0, 1.0))
    assert crop._box(1000, 10, rng()) == (493, 0, 506, 10)  # 13 / 10 < 4 / 3
    assert crop._box(1, 1, rng()) == (0, 0, 1, 1)


def test_flip_is_half_and_exact():
    array = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    generator, flipped = rng(), 0
    for _ in range(400):
        result = transforms.RandomFlip().random_map(example(array), generator)
        pixels = np.asarray(result["image"])
        if np.array_equal(pixels, array[:, ::-1]):
            flipped += 1
        else:
            np.testing.assert_array_equal(pixels, array)
        assert result["label"] == 3
    assert 160 < flipped < 240


def test_affine_without_motion_is_the_identity():
    array = np.asarray(photo())
    result = transforms.RandomAffine().random_map(example(array), rng())
    np.testing.assert_array_equal(np.asarray(result["image"]), array)


def test_affine_moves_rotates_and_scales_as_asked():
    """A bright spot goes where the forward transform says."""
    array = np.zeros((65, 65, 3), np.uint8)
    array[19:22, 39:42] = 255  # centre of mass (x, y) = (40.5, 20.5)
    affine = transforms.RandomAffine(30, 0.1, (0.8, 1.2))
    for seed in range(10):
        moved = np.asarray(affine.random_map(example(array), rng(seed))["image"])
        draw = rng(seed)
        angle = math.radians(draw.uniform(-30, 30))
        shift = 65 * draw.uniform(-0.1, 0.1), 65 * draw.uniform(-0.1, 0.1)
        scale = draw.uniform(0.8, 1.2)
        dx, dy = 40.5 - 32.5, 20.5 - 32.5
        x = 32.5 + scale * (math.cos(angle) * dx - math.sin(angle) * dy) + shift[0]
        y = 32.5 + scale * (math.sin(angle) * dx + math.cos(angle) * dy) + shift[1]
        weights = moved[..., 0] / moved[..., 0].sum()
        rows, columns = np.indices(weights.shape) + 0.5
        np.testing.assert_allclose((weights * columns).sum(), x, atol=0.35)
        np.testing.assert_allclose((weights * rows).sum(), y, atol=0.35)


def test_official_crop():
    """224 / 256 of the short edge of 375: int(328.125) = 328."""
    image = photo().crop((0, 0, 499, 375))  # both borders are odd
    result = transforms.CenterCrop(224).map({"image": image})["image"]
    left, top = (499 - 328 + 1) // 2, (375 - 328 + 1) // 2
    expected = image.crop((left, top, left + 328, top + 328)).resize((224, 224), 3)
    np.testing.assert_array_equal(np.asarray(result), np.asarray(expected))


def test_timm_crop():
    """int(224 / 0.95) = 235 for the short edge; the long one int(235 * 500 / 375)."""
    image = photo()
    result = transforms.CenterCrop(224, crop=0.95).map({"image": image})["image"]
    resized = image.resize((313, 235), Image.Resampling.BICUBIC)
    left, top = round((313 - 224) / 2), round((235 - 224) / 2)
    expected = resized.crop((left, top, left + 224, top + 224))
    np.testing.assert_array_equal(np.asarray(result), np.asarray(expected))


def test_squash_equals_resize():
    image = photo()
    squashed = transforms.CenterCrop((32, 48), crop="squash").map({"image": image})
    resized = transforms.Resize((32, 48)).map({"image": image})["image"]
    assert resized.size == (48, 32)
    np.testing.assert_array_equal(np.asarray(squashed["image"]), np.asarray(resized))


@pytest.mark.parametrize("crop", ["official", 0.875, 1.0, "squash"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 2), (37, 53)])
@pytest.mark.parametrize("size", [(7, 7), (16, 40), (40, 16)])
def test_every_shape_gives_the_size(crop, shape, size):
    image = Image.new("RGB", (shape[1], shape[0]), (9, 8, 7))
    result = transforms.CenterCrop(size, crop).map({"image": image})["image"]
    assert result.size == (size[1], size[0])
    assert result.getextrema() == ((9, 9), (8, 8), (7, 7))  # nothing from outside


def test_to_array():
    array = transforms.ToArray().map({"image": photo()})["image"]
    assert array.dtype == np.uint8
    assert array.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(array, data.astronaut()[:375, :500])


@pytest.mark.parametrize(
    "build",
    [
        lambda: transforms.CenterCrop(8, crop="centre"),
        lambda: transforms.CenterCrop(8, crop=1.5),
        lambda: transforms.Resize(0),
        lambda: transforms.Resize((1, 2, 3)),
        lambda: transforms.RandomResizedCrop(8, area=(0.5, 0.1)),
        lambda: transforms.RandomResizedCrop(8, ratio=(0.0, 1.0)),
        lambda: transforms.RandomAffine(scale=(0.0, 1.0)),
    ],
)
def test_impossible_settings(build):
    with pytest.raises(ConfigError):
        build()


def test_padded_crop_shifts_and_fills_with_black():
    image = np.full((6, 6, 3), 200, np.uint8)
    crop, generator = transforms.PaddedCrop(6, 2), rng()
    seen = set()
    for _ in range(400):
        shifted = np.asarray(crop.random_map(example(image), generator)["image"])
        assert shifted.shape == (6, 6, 3)
        rows, columns = np.nonzero(shifted[..., 0])
        top, left = rows.min(), columns.min()
        bottom, right = 5 - rows.max(), 5 - columns.max()
        assert np.all(shifted[top : 6 - bottom, left : 6 - right] == 200)
        seen.add((top - bottom, left - right))
    assert seen == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}
    with pytest.raises(ConfigError, match="at least 0 pixels, given -1"):
        transforms.PaddedCrop(6, -1)


def test_random_crop_keeps_pixels_or_resizes_before():
    image = photo()
    crop, generator = transforms.RandomCrop((30, 40)), rng()
    whole, corners = np.asarray(image), set()
    for _ in range(20):
        found = np.asarray(crop.random_map({"image": image}, generator)["image"])
        assert found.shape == (30, 40, 3)
        hits = np.argwhere(np.all(whole[:-29, :-39] == found[0, 0], -1))
        matches = [
            (y, x)
            for y, x in hits
            if np.array_equal(whole[y : y + 30, x : x + 40], found)
        ]
        assert matches
        corners.add(matches[0])
    assert len(corners) > 15
    squashed = transforms.RandomCrop(64, 64).random_map({"image": image}, rng())
    expected = image.resize((64, 64), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(np.asarray(squashed["image"]), np.asarray(expected))
    small = image.crop((0, 0, 20, 50))
    assert crop.random_map({"image": small}, rng())["image"].size == (40, 30)
    with pytest.raises(ConfigError, match="32 x 40 does not fit into 36 x 36"):
        transforms.RandomCrop((32, 40), 36)


def test_native_centre_crop_keeps_pixels():
    image = photo()
    found = transforms.CenterCrop(100, "native").map({"image": image})["image"]
    expected = np.asarray(image)[137:237, 200:300]
    np.testing.assert_array_equal(np.asarray(found), expected)
    small = image.crop((0, 0, 50, 200))
    assert transforms.CenterCrop(100, "native").map({"image": small})["image"].size == (
        100,
        100,
    )
