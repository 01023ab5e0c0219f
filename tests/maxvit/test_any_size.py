"""Image sizes that windows do not divide: padded, and the padding never seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.kernels import partition, reference
from maxvit import models
from maxvit.blocks import RelativeAttention
from tests.maxvit.small import filled

SIZE = (75, 50)


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(jax.random.key(2), (2, *SIZE, 3))


def maps_and_logits(model, variables, images):
    def run(model, images):
        maps = model.features(images)
        return maps, model.head(maps["stage4"])

    # A new function each time: what it calls may have been replaced.
    return jax.jit(lambda v, x: model.apply(v, x, method=run))(variables, images)


@pytest.fixture(scope="module")
def outputs(model, variables, images):
    return maps_and_logits(model, variables, images)


def test_maps_have_half_the_size_rounded_up(outputs):
    assert {name: features.shape[1:3] for name, features in outputs[0].items()} == {
        "stem": (38, 25),
        "stage1": (19, 13),
        "stage2": (10, 7),
        "stage3": (5, 4),
        "stage4": (3, 2),
    }
    assert jnp.isfinite(outputs[1]).all()


def test_padding_is_never_seen(model, variables, images, outputs, monkeypatch):
    pad, widths_seen = jnp.pad, []

    def other_values(x, widths):
        widths_seen.append(widths)
        # Not a constant: a token of equal channels is the same after a LayerNorm.
        return pad(x, widths, mode="edge")

    monkeypatch.setattr(partition.jnp, "pad", other_values)
    maps, logits = maps_and_logits(model, variables, images)
    assert len(widths_seen) == 2 * 5  # in every block, for windows and for grids
    for name, features in maps.items():
        np.testing.assert_array_equal(features, outputs[0][name], err_msg=name)
    np.testing.assert_array_equal(logits, outputs[1])


def test_an_image_on_its_own_and_in_a_batch(model, variables, images, outputs):
    _, alone = maps_and_logits(model, variables, images[1:])
    np.testing.assert_allclose(alone[0], outputs[1][1], atol=1e-5)


@pytest.mark.parametrize("kind", ["window", "grid"])
def test_tokens_of_the_map_attend_to_each_other_alone(kind):
    """One padded layer against loops over the tokens that each group really has."""
    size, group, channels = (5, 7), (4, 3), 8
    x = np.random.default_rng(0).normal(size=(2, *size, channels)).astype(np.float32)
    groups = partition.Partition(kind, size, group)
    layer = RelativeAttention(channels, group, head_dim=4)
    tokens = groups.split(jnp.asarray(x))
    variables = layer.init(jax.random.key(0), tokens, None)
    variables = jax.tree.map(lambda leaf: 10 * leaf, variables)  # an uneven softmax
    out = groups.join(layer.apply(variables, tokens, groups.mask()))

    params = jax.tree.map(np.asarray, variables["params"])
    qkv = x @ params["qkv"]["kernel"] + params["qkv"]["bias"]
    query, key, value = np.split(qkv.reshape(2, *size, 6, 4), 3, axis=3)
    bias = reference.bias(params["relative_bias"], *group)
    numbers = np.zeros((1, *groups.padded, 1), int)
    numbers[0, : size[0], : size[1], 0] = 1 + np.arange(35).reshape(size)
    cut = {"window": reference.windows, "grid": reference.grids}[kind]
    covered = 0
    for members in cut(numbers, *group)[:, :, 0]:
        kept = np.flatnonzero(members)
        rows, cols = np.divmod(members[kept] - 1, size[1])
        mixed = reference.attention(
            *(array[:, rows, cols] for array in (query, key, value)),
            bias[:, kept[:, None], kept],
        ).reshape(2, len(kept), channels)
        expected = mixed @ params["out"]["kernel"] + params["out"]["bias"]
        np.testing.assert_allclose(out[:, rows, cols], expected, atol=1e-5)
        covered += len(kept)
    assert covered == 35


def test_without_padding_nothing_changes(model, variables):
    """The plain path is the same function, without a mask."""
    images = jax.random.normal(jax.random.key(3), (1, 128, 64, 3))
    plain = maps_and_logits(model, variables, images)

    class Masked(partition.Partition):
        def mask(self):
            whole = partition.Partition.mask(self)
            assert whole is None
            groups = np.prod(np.array(self.size) // self.group)
            return np.ones((groups, np.prod(self.group)), bool)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("maxvit.blocks.Partition", Masked)
        masked = maps_and_logits(model, variables, images)
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(masked), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_gradient_goes_through():
    model = models.create(
        "testing", 3, 40, depths=(1, 1), channels=(8, 16), window_size=3
    )
    variables = filled(model, 40)
    images = jax.random.normal(jax.random.key(2), (1, 40, 40, 3))
    gradients = jax.jit(
        jax.grad(lambda v: jax.nn.logsumexp(model.apply(v, images)).sum())
    )(variables)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients["params"]):
        assert jnp.isfinite(leaf).all()
        assert (leaf != 0).any(), jax.tree_util.keystr(path)


@pytest.mark.parametrize(
    ("size", "window"),
    [
        (224, (7, 7)),
        (250, (8, 8)),
        ((200, 300), (7, 10)),
        (16, (1, 1)),
        (896, (28, 28)),
    ],
)
def test_the_default_window_is_the_last_map(size, window):
    model = models.create("tiny", image_size=size)
    assert model.window_size == model.grid_size == window
