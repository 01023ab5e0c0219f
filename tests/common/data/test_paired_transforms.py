"""Transforms of pairs: an image and its target stay on each other, pixel for pixel."""

import numpy as np
import pytest
from PIL import Image

from common.data import paired_transforms as pt
from common.data.transforms import Map
from common.errors import ConfigError

rng = np.random.default_rng


def pair(height, width, kind="pil"):
    """A target that names each pixel's place, and the image: the same, inverted."""
    rows, columns = np.mgrid[:height, :width]
    target = np.stack([rows, columns, rows + columns], -1).astype(np.uint8)
    image = 255 - target
    if kind == "pil":
        return {"image": Image.fromarray(image), "target": Image.fromarray(target)}
    if kind == "float":  # as degradations make them
        return {"image": np.float32(image) / 255, "target": target}
    return {"image": image, "target": target}


def check_together(example):
    image, target = example["image"], example["target"]
    assert isinstance(image, np.ndarray)
    assert image.flags.c_contiguous
    assert target.dtype == np.uint8
    if image.dtype == np.float32:
        image = np.rint(image * 255).astype(np.uint8)
    np.testing.assert_array_equal(image, 255 - target)


def run(transform, example, seed=0):
    if isinstance(transform, Map):
        return transform.map(example)
    return transform.random_map(example, rng(seed))


@pytest.mark.parametrize("kind", ["pil", "array", "float"])
@pytest.mark.parametrize("size", [4, (3, 6), (20, 5), (40, 50)])
@pytest.mark.parametrize("transform", [pt.RandomCrop, pt.CenterCrop])
def test_crops_keep_pairs_together(transform, size, kind):
    example = run(transform(size), {"id": 5, **pair(12, 16, kind)})
    height, width = (size, size) if isinstance(size, int) else size
    assert example["image"].shape == example["target"].shape == (height, width, 3)
    assert example["id"] == 5
    check_together(example)


def test_random_crops_are_windows_from_everywhere():
    corners = set()
    for seed in range(200):
        target = run(pt.RandomCrop((3, 6)), pair(5, 8), seed)["target"]
        top, left = map(int, target[0, 0, :2])
        np.testing.assert_array_equal(
            target, np.asarray(pair(5, 8)["target"])[top : top + 3, left : left + 6]
        )
        corners.add((top, left))
    assert corners == {(top, left) for top in range(3) for left in range(3)}


def test_center_crop_is_in_the_middle():
    target = pt.CenterCrop((3, 6)).map(pair(8, 9))["target"]
    np.testing.assert_array_equal(target[0, 0], [2, 1, 3])


def test_small_images_are_reflected():
    target = pt.CenterCrop((7, 4)).map(pair(4, 2))["target"]
    np.testing.assert_array_equal(target[:, 0, 0], [1, 0, 1, 2, 3, 2, 1])
    np.testing.assert_array_equal(target[0, :, 1], [1, 0, 1, 0])
    one = pt.RandomCrop(5).random_map(pair(1, 1), rng(0))
    check_together(one)
    assert (one["target"] == 0).all()


def test_the_eight_orientations_are_equally_likely():
    counts = {}
    for seed in range(800):
        example = run(pt.RandomOrientation(), pair(3, 3), seed)
        check_together(example)
        key = example["target"].tobytes()
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 8
    assert min(counts.values()) > 70


@pytest.mark.parametrize(
    ("flip", "rotate", "different"),
    [(True, False, 4), (False, True, 4), (False, False, 1)],
)
def test_flips_and_turns_alone(flip, rotate, different):
    transform = pt.RandomOrientation(flip, rotate)
    results = [run(transform, pair(3, 3), seed)["target"] for seed in range(60)]
    assert len({result.tobytes() for result in results}) == different
    if not rotate:  # rows stay rows
        wide = run(transform, pair(3, 5))
        assert wide["target"].shape == (3, 5, 3)


def test_rotation_wants_square_pictures():
    with pytest.raises(ConfigError, match="5 x 3 pixels"):
        run(pt.RandomOrientation(), pair(3, 5))


@pytest.mark.parametrize(
    "transform",
    [pt.RandomCrop(3), pt.CenterCrop(3), pt.RandomOrientation(), pt.ToArrays()],
)
def test_without_a_target_the_image_goes_the_same_way(transform):
    both = run(transform, pair(6, 6), 3)
    alone = {"image": pair(6, 6)["image"], "name": "x"}
    result = run(transform, alone, 3)
    assert set(result) == {"image", "name"}
    np.testing.assert_array_equal(result["image"], both["image"])


def test_to_arrays():
    example = pt.ToArrays().map({"label": 3, "mask": True, **pair(4, 6)})
    assert set(example) == {"image", "target", "mask"}
    check_together(example)
    given = pair(4, 6, "float")
    assert pt.ToArrays().map(given)["image"] is given["image"]


@pytest.mark.parametrize("transform", [pt.RandomCrop, pt.CenterCrop])
@pytest.mark.parametrize("size", [0, (3, -1), 2.5])
def test_impossible_sizes(transform, size):
    with pytest.raises(ConfigError):
        transform(size)
