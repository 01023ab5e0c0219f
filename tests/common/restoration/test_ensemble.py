import numpy as np
from PIL import Image

from common.restoration.ensemble import ensemble

IMAGE = np.random.default_rng(0).random((3, 5, 3)).astype(np.float32)
# Pillow's turns and mirrors, each with the one that undoes it.
VIEWS = {
    None: None,
    Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
    Image.Transpose.ROTATE_180: Image.Transpose.ROTATE_180,
    Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
    Image.Transpose.FLIP_LEFT_RIGHT: Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM: Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE: Image.Transpose.TRANSPOSE,
    Image.Transpose.TRANSVERSE: Image.Transpose.TRANSVERSE,
}


def turn(image, method):
    if method is None:
        return image
    channels = [Image.fromarray(image[..., k]).transpose(method) for k in range(3)]
    return np.stack([np.asarray(channel) for channel in channels], -1)


def slanted(image):
    """Knows up from down and left from right."""
    down, right = np.indices(image.shape[:2])[..., None].astype(np.float32)
    return image * (1 + down) + np.sin(3 * right)


def test_it_is_the_mean_over_the_eight_views():
    seen = []

    def function(image):
        seen.append(image.tobytes())
        return slanted(image)

    result = ensemble(function, IMAGE)
    views = [turn(slanted(turn(IMAGE, a)), b) for a, b in VIEWS.items()]
    np.testing.assert_allclose(result, np.mean(views, 0), rtol=1e-5)
    assert set(seen) == {turn(IMAGE, method).tobytes() for method in VIEWS}
    assert len(seen) == 8


def test_what_treats_all_directions_alike_stays_as_it_is():
    np.testing.assert_array_equal(ensemble(lambda x: x**2, IMAGE), IMAGE**2)


def test_the_image_stays():
    before = IMAGE.copy()
    assert ensemble(lambda x: x, IMAGE) is not IMAGE
    np.testing.assert_array_equal(IMAGE, before)
