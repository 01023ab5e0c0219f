"""Sizes known from the papers and from torchvision, and one block by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from common.models import resnet

# torchvision's numbers; thin ones: the paper's table 6, in millions.
COUNTS = {
    "resnet18": (1000, 11_689_512),
    "resnet34": (1000, 21_797_672),
    "resnet50": (1000, 25_557_032),
}
THIN = {"resnet20": 0.27, "resnet32": 0.46, "resnet44": 0.66, "resnet56": 0.85}


def shapes(variant, num_classes, side=64, **options):
    model = resnet.create(variant, num_classes, **options)
    images = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    key = jax.random.key(0)
    return model, jax.eval_shape(lambda i: model.init(key, i), images), images


def count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize("variant", COUNTS)
def test_parameters_of_known_networks(variant):
    classes, expected = COUNTS[variant]
    _, variables, _ = shapes(variant, classes)
    assert count(variables) == expected


@pytest.mark.parametrize("variant", THIN)
def test_parameters_of_thin_networks(variant):
    _, variables, _ = shapes(variant, 10, side=32)
    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert (count(variables) - projections) / 1e6 == pytest.approx(
        THIN[variant], abs=0.006
    )


def test_pre_activation():
    """The known 11,171,146 are of code that leaves the last norm out."""
    model, variables, images = shapes("preact_resnet18", 10, side=32)
    assert count(variables) == 11_171_146 + 2 * 512
    assert "bn1" in variables["params"]
    assert "downsample_bn" not in variables["params"]["layer2_0"]
    logits = jax.eval_shape(lambda v, i: model.apply(v, i), variables, images)
    assert logits.shape == (2, 10)


def test_stems():
    for stem, size in (("imagenet", 7), ("cifar", 3)):
        _, variables, _ = shapes("resnet18", 10, stem=stem)
        assert variables["params"]["conv1"]["kernel"].shape == (size, size, 3, 64)


def conv(x, kernel, strides):
    """`[H, W, C]` by its definition, with the padding of PyTorch."""
    size = kernel.shape[0]
    x = np.pad(x, [(size // 2,) * 2] * 2 + [(0, 0)])
    rows, columns = ((n - size) // strides + 1 for n in x.shape[:2])
    out = np.zeros((rows, columns, kernel.shape[-1]))
    for i, j in np.ndindex(rows, columns):
        patch = x[i * strides : i * strides + size, j * strides : j * strides + size]
        out[i, j] = np.tensordot(patch, kernel, 3)
    return out


def test_a_block_by_hand():
    """With statistics and scales that are not those of the start."""
    block = resnet.BasicBlock(4, 2, resnet._Layers(False, jnp.float32))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 5, 3)).astype(np.float32)
    shaped = jax.eval_shape(block.init, jax.random.key(0), x[None])
    v = jax.tree.map(
        lambda s: rng.uniform(0.5, 1.5, s.shape).astype(np.float32), shaped
    )
    p, s = v["params"], v["batch_stats"]

    def norm(y, name):
        y = (y - s[name]["mean"]) / np.sqrt(s[name]["var"] + 1e-5)
        return y * p[name]["scale"] + p[name]["bias"]

    y = np.maximum(norm(conv(x, p["conv1"]["kernel"], 2), "bn1"), 0)
    y = norm(conv(y, p["conv2"]["kernel"], 1), "bn2")
    y += norm(conv(x, p["downsample_conv"]["kernel"], 2), "downsample_bn")
    found = block.apply(v, x[None])[0]
    np.testing.assert_allclose(found, np.maximum(y, 0), rtol=1e-4, atol=1e-4)
    assert np.all(block.init(jax.random.key(0), x[None])["params"]["bn2"]["scale"] == 0)


def test_half_precision_gives_float32_logits():
    model, variables, images = shapes("resnet20", 10, side=32, dtype="bfloat16")
    logits = jax.eval_shape(lambda v, i: model.apply(v, i), variables, images)
    assert logits.dtype == jnp.float32
    kinds = {leaf.dtype for leaf in jax.tree.leaves(variables)}
    assert kinds == {jnp.dtype("float32")}


def test_names_that_are_none():
    with pytest.raises(ConfigError, match="did you mean 'resnet18'"):
        resnet.create("resnet17", 10)
    with pytest.raises(ConfigError, match="unknown stem 'mnist'"):
        resnet.create("resnet18", 10, stem="mnist")
