import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import DataError
from common.restoration.inference import Restorer, check_image, check_range
from common.restoration.tiles import Tiling

GAIN = {"params": {"gain": np.float32(1)}}


def identity(variables, images):
    """Takes multiples of 8 alone."""
    assert images.shape[1] % 8 == images.shape[2] % 8 == 0
    return images * variables["params"]["gain"]


def spread(variables, images):
    """Adds to every pixel the mean of the whole image."""
    return images + images.mean() * variables["params"]["gain"]


def image(*size):
    return np.random.default_rng(0).random((*size, 3)).astype(np.float32)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (8, 24), (30, 17)])
@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize("tiling", [None, Tiling(16, 6)])
def test_any_size_comes_back_at_its_place(size, ensemble, tiling):
    restorer = Restorer(identity, GAIN, 8)
    result = restorer(image(*size), ensemble=ensemble, tiling=tiling)
    np.testing.assert_array_equal(result, image(*size))
    assert result.dtype == np.float32


def test_the_ensemble_turns_what_the_network_sees():
    """It sees the same padded pixels in all views, so that the mean stays."""
    restorer, picture = Restorer(spread, GAIN, 8), image(9, 20)
    expected = restorer(picture)
    assert np.abs(expected - picture).min() > 0.4
    np.testing.assert_allclose(restorer(picture, ensemble=True), expected, rtol=1e-6)


def test_a_tile_knows_nothing_of_the_others():
    picture = np.zeros((8, 16, 3), np.float32)
    picture[:, 8:] = 1
    result = Restorer(spread, GAIN, 8)(picture, tiling=Tiling(8, 0))
    np.testing.assert_array_equal(result, 2 * picture)
    np.testing.assert_array_equal(Restorer(spread, GAIN, 8)(picture), picture + 0.5)


def test_other_variables_share_what_is_compiled():
    traced = []

    def look(variables, images):
        traced.append(images.shape)
        return identity(variables, images)

    restorer = Restorer(look, GAIN, 8)
    other = restorer.with_variables({"params": {"gain": np.float32(3)}})
    assert other(image(8, 8)).max() == 3 * restorer(image(8, 8)).max()
    assert len(traced) == 1
    assert other._programs is restorer._programs


def test_bfloat16_is_for_variables_and_not_for_images():
    seen = []

    def look(variables, images):
        seen.append((variables["params"]["gain"].dtype, images.dtype))
        return images.astype(jnp.bfloat16) * variables["params"]["gain"]

    result = Restorer(look, GAIN, 8, bfloat16=True)(image(8, 8))
    assert seen == [(jnp.bfloat16, np.float32)]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, image(8, 8), rtol=2**-8)


def test_noise_beyond_the_range_is_let_in_and_out():
    picture = image(8, 8) * 3 - 1
    np.testing.assert_array_equal(Restorer(identity, GAIN, 8)(picture), picture)
    # A sensor's readout in the dark can be far below black.
    picture -= 100
    np.testing.assert_array_equal(Restorer(identity, GAIN, 8)(picture), picture)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((8, 8), np.float32), r"given \[8, 8\]"),
        (np.zeros((8, 8, 4), np.float32), r"given \[8, 8, 4\]"),
        (np.zeros((1, 8, 8, 3), np.float32), r"given \[1, 8, 8, 3\]"),
        (np.zeros((0, 8, 3), np.float32), r"given \[0, 8, 3\]"),
        (np.zeros((8, 8, 3), np.uint8), "given uint8; divide levels of 8 bits by 255"),
        (np.full((8, 8, 3), np.nan), "not finite"),
    ],
)
def test_what_is_no_image(bad, message):
    with pytest.raises(DataError, match=message):
        Restorer(identity, GAIN, 8)(bad)


@pytest.mark.parametrize("bad", [image(8, 8) * 255, image(8, 8) - 100])
def test_other_scales_are_refused(bad):
    check_range(image(8, 8))
    message = r"values here in \[.*; divide levels of 8 bits by 255"
    with pytest.raises(DataError, match=message):
        check_range(bad)


@pytest.mark.parametrize("kind", [np.float16, np.float64, jnp.bfloat16])
def test_all_floats_are_images(kind):
    assert check_image(image(2, 2).astype(kind)).dtype == np.float32
