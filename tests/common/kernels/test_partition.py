import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from common.kernels import partition, reference
from common.kernels.partition import Partition

SIZES = [((4, 4), (2, 2)), ((6, 4), (3, 2)), ((8, 12), (2, 3)), ((7, 14), (7, 7))]


def numbered(height, width, batch=1, channels=1):
    size = batch * height * width * channels
    return np.arange(size).reshape(batch, height, width, channels)


def test_windows_of_the_four_by_four_map():
    groups = partition.window_partition(jnp.asarray(numbered(4, 4)), 2)
    np.testing.assert_array_equal(
        groups[..., 0],
        [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]],
    )


def test_grid_of_the_four_by_four_map():
    groups = partition.grid_partition(jnp.asarray(numbered(4, 4)), 2)
    np.testing.assert_array_equal(
        groups[..., 0],
        [[0, 2, 8, 10], [1, 3, 9, 11], [4, 6, 12, 14], [5, 7, 13, 15]],
    )


def test_grid_of_the_six_by_six_map():
    groups = partition.grid_partition(jnp.asarray(numbered(6, 6)), 2)
    assert groups.shape == (9, 4, 1)
    np.testing.assert_array_equal(
        groups[:3, :, 0], [[0, 3, 18, 21], [1, 4, 19, 22], [2, 5, 20, 23]]
    )


@pytest.mark.parametrize(("size", "parts"), SIZES)
def test_partitions_equal_the_slow_reference(size, parts):
    x = numbered(*size, batch=2, channels=3)
    windows = partition.window_partition(jnp.asarray(x), parts)
    np.testing.assert_array_equal(windows, reference.windows(x, *parts))
    grids = partition.grid_partition(jnp.asarray(x), parts)
    np.testing.assert_array_equal(grids, reference.grids(x, *parts))


@pytest.mark.parametrize(("size", "parts"), SIZES)
def test_reverse_restores_the_map(size, parts):
    x = jnp.asarray(numbered(*size, batch=3, channels=2))
    windows = partition.window_partition(x, parts)
    np.testing.assert_array_equal(partition.window_reverse(windows, parts, size), x)
    grids = partition.grid_partition(x, parts)
    np.testing.assert_array_equal(partition.grid_reverse(grids, parts, size), x)


def test_one_window_is_the_map_itself():
    x = jnp.asarray(numbered(7, 7, batch=2, channels=3))
    tokens = x.reshape(2, 49, 3)
    np.testing.assert_array_equal(partition.window_partition(x, 7), tokens)
    np.testing.assert_array_equal(partition.grid_partition(x, 7), tokens)


@pytest.mark.parametrize(
    "call",
    [
        lambda: partition.window_partition(jnp.zeros((1, 14, 15, 1)), 7),
        lambda: partition.grid_partition(jnp.zeros((1, 14, 15, 1)), 7),
        lambda: partition.window_reverse(jnp.zeros((4, 49, 1)), 7, (14, 15)),
        lambda: partition.grid_reverse(jnp.zeros((4, 49, 1)), 7, (14, 15)),
    ],
)
def test_indivisible_sizes_are_named(call):
    with pytest.raises(ConfigError, match=r"14 x 15 .* 7 x 7"):
        call()


def test_a_sharded_batch_partitions_without_communication():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.P("data"))
    x = jax.device_put(jnp.asarray(numbered(14, 28, batch=8, channels=2)), sharding)

    @jax.jit
    def there_and_back(x):
        windows = partition.window_partition(x, 7)
        x = partition.window_reverse(windows + 1, 7, (14, 28))
        grids = partition.grid_partition(x, 7)
        return grids, partition.grid_reverse(grids * 2, 7, (14, 28))

    hlo = there_and_back.lower(x).compile().as_text()
    for collective in ("all-gather", "all-to-all", "all-reduce", "collective-permute"):
        assert collective not in hlo
    grids, back = there_and_back(x)
    assert back.sharding.is_equivalent_to(sharding, back.ndim)
    assert grids.sharding.is_equivalent_to(sharding, grids.ndim)
    np.testing.assert_array_equal(back, (np.asarray(x) + 1) * 2)


@pytest.mark.parametrize("kind", ["window", "grid"])
@pytest.mark.parametrize(("size", "parts"), SIZES)
def test_sizes_that_divide_are_not_padded(kind, size, parts):
    x = jnp.asarray(numbered(*size, batch=2, channels=3))
    groups = Partition(kind, size, parts)
    cut = {"window": partition.window_partition, "grid": partition.grid_partition}
    assert groups.mask() is None
    tokens = groups.split(x)
    np.testing.assert_array_equal(
        tokens.reshape(-1, *tokens.shape[2:]), cut[kind](x, parts)
    )
    np.testing.assert_array_equal(groups.join(tokens), x)


@pytest.mark.parametrize("kind", ["window", "grid"])
@pytest.mark.parametrize("size", [(5, 7), (8, 3), (1, 1), (13, 4), (2, 9)])
@pytest.mark.parametrize("parts", [(4, 4), (3, 5), (7, 7)])
def test_other_sizes_are_padded_and_the_mask_knows_where(kind, size, parts):
    x = jnp.asarray(numbered(*size, batch=2, channels=1)) + 1  # padding is 0
    groups = Partition(kind, size, parts)
    tokens, mask = groups.split(x), groups.mask()
    assert tokens.shape[2:] == (parts[0] * parts[1], 1)
    np.testing.assert_array_equal(groups.join(tokens), x)
    if mask is None:
        assert (size[0] % parts[0], size[1] % parts[1]) == (0, 0)
        return
    np.testing.assert_array_equal(tokens[0, :, :, 0] != 0, mask)
    np.testing.assert_array_equal(tokens[1, :, :, 0] != 0, mask)
    assert mask.sum() == size[0] * size[1]
    assert mask.any(axis=1).all()  # no group is all padding
    np.testing.assert_array_equal(np.array(groups.padded) % parts, 0)
    assert (np.array(groups.padded) - size < parts).all()


def one_pass(function, *shapes):
    """Returns the operations of a compiled function that write all its data."""
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    hlo = jax.jit(function).lower(*arguments).compile().as_text()
    entry = hlo[hlo.index("ENTRY") :]
    work = ("fusion(", "transpose(", "copy(", "gather(")
    return [line for line in entry.splitlines() if any(op in line for op in work)]


def test_from_windows_to_grids_is_one_pass():
    windows, grids = (Partition(kind, (56, 56), (7, 7)) for kind in ("window", "grid"))

    def sublayers(tokens, residual):
        return grids.split(windows.join(tokens + residual))

    shape = (2, 64, 49, 8)
    assert len(one_pass(sublayers, shape, shape)) == 1


def test_one_group_costs_nothing():
    for kind in ("window", "grid"):
        groups = Partition(kind, (7, 7), (7, 7))
        lines = one_pass(lambda x, g=groups: g.join(g.split(x) * 2), (2, 7, 7, 8))
        assert len(lines) == 1
        assert "transpose" not in lines[0]
        assert "copy" not in lines[0]
