import numpy as np
import pytest

from compression import patches


def numbered(height, width):
    """Pixels that say where they are, in both channels that matter."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows // 16, columns // 16, rows * 0], -1).astype(np.uint8)


@pytest.mark.parametrize("size", [(128, 128), (300, 451), (512, 512), (129, 700)])
def test_patches_cover_an_image_on_its_own_grid(size):
    image = numbered(*size)
    found = patches.cut(image)
    assert found.shape[1:] == (128, 128, 3)
    assert len(found) in (1, 2, 4, 8, 16, 32)
    seen = {(y, x) for patch in found for y, x in patch[::16, ::16, :2].reshape(-1, 2)}
    rows, columns = size[0] // 16, size[1] // 16
    assert seen == {(y, x) for y in range(rows) for x in range(columns)}
    for patch in found:  # starts are multiples of 16
        assert (patch[:16, :16, :2] == patch[0, 0, :2]).all()


def test_of_large_images_patches_are_spread():
    found = patches.cut(numbered(2048, 3072))
    assert len(found) == patches.MOST
    assert found[0, 0, 0].tolist() == [0, 0, 0]
    assert found[-1, -1, -1].tolist() == [127, 191, 0]


def test_small_images_stay_whole():
    assert patches.cut(numbered(127, 300)).shape == (1, 127, 300, 3)


def test_several_images_have_equal_shares():
    images = [np.full((256, 256, 3), value, np.uint8) for value in range(3)]
    found = patches.of_images([*images, numbered(20, 20)], 12)
    assert found.shape == (12, 128, 128, 3)
    assert np.unique(found[:, 0, 0, 0], return_counts=True)[1].tolist() == [4, 4, 4]


def test_more_images_than_patches():
    images = [np.full((128, 128, 3), value, np.uint8) for value in range(9)]
    assert len(patches.of_images(images, 4)) == 4


def test_images_that_are_all_small_are_padded():
    found = patches.of_images([numbered(10, 20), numbered(30, 5)], 8)
    assert found.shape == (2, 30, 20, 3)
    np.testing.assert_array_equal(found[0, 10:], found[0, 9:10].repeat(20, 0))
