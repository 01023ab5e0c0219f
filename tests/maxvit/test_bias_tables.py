"""Tables of relative positions at other sizes."""

import jax
import numpy as np
import pytest

from maxvit import bias_tables

SIZES = [(13, 23), (13, 31), (23, 13), (31, 13), (1, 5), (5, 1), (7, 3), (3, 4)]


def interpolate(row, new):
    """Half-pixel bilinear along one axis, one entry after the other."""
    old = len(row)
    values = []
    for i in range(new):
        x = (i + 0.5) * old / new - 0.5
        x = min(max(x, 0.0), old - 1.0)
        left = int(np.floor(x))
        right = min(left + 1, old - 1)
        values.append((1 - (x - left)) * row[left] + (x - left) * row[right])
    return values


def reference(table, size):
    tall = [[interpolate(c, size[0]) for c in head.T] for head in table]
    tall = np.array(tall).swapaxes(1, 2)
    return np.array([[interpolate(r, size[1]) for r in head] for head in tall])


def random_table(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_half_pixel_bilinear(old, new):
    table = random_table(2, old, 9)
    resized = bias_tables.resize(table, (new, 11))
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, reference(table, (new, 11)), atol=1e-6)
    through_jax = jax.image.resize(table, (2, new, 11), "bilinear", antialias=False)
    np.testing.assert_allclose(resized, through_jax, atol=1e-5)


def test_known_values():
    """By hand, from the definition with corners that are not aligned."""
    table = np.array([[[0, 4]]], np.float32)
    np.testing.assert_array_equal(bias_tables.resize(table, (1, 4)), [[[0, 1, 3, 4]]])
    row = np.array([[[0, 10, 20, 60]]], np.float32)
    # Centres 0.5 and 2.5: no antialiasing, only the two neighbours count.
    np.testing.assert_array_equal(bias_tables.resize(row, (1, 2)), [[[5, 40]]])
    column = np.array([[[0], [3], [9]]], np.float32)
    np.testing.assert_allclose(
        bias_tables.resize(column, (5, 1))[0, :, 0], [0, 1.2, 3, 6.6, 9], rtol=1e-6
    )


def test_same_size_is_the_same_bits():
    table = random_table(2, 13, 23)
    np.testing.assert_array_equal(bias_tables.resize(table, (13, 23)), table)
    # One axis alone: the other is not touched.
    grown = bias_tables.resize(table, (39, 23))
    np.testing.assert_array_equal(grown[:, 1::3], table)


def test_only_tables_of_other_windows_are_resized():
    def leaf(*shape):
        return jax.ShapeDtypeStruct(shape, np.float32)

    loaded = {
        "params/a/relative_bias": random_table(2, 13, 13),
        "params/b/relative_bias": random_table(2, 13, 13),
        "params/c/relative_bias": random_table(2, 7, 13),
        "params/same/relative_bias": random_table(2, 23, 15),
        "params/heads/relative_bias": random_table(4, 13, 13),
        "params/other/kernel": random_table(2, 13, 13),
        "params/unknown/relative_bias": random_table(2, 13, 13),
    }
    target = {name: leaf(2, 23, 15) for name in list(loaded)[:-1]}
    fitted, line = bias_tables.fit(loaded, target)
    assert line == "2 tables resized 13x13 -> 23x15, 1 table resized 7x13 -> 23x15"
    changed = {name for name in loaded if fitted[name] is not loaded[name]}
    assert changed == {f"params/{layer}/relative_bias" for layer in "abc"}
    np.testing.assert_allclose(
        fitted["params/c/relative_bias"],
        reference(loaded["params/c/relative_bias"], (23, 15)),
        atol=1e-6,
    )
    assert bias_tables.fit(loaded, {})[1] == ""
