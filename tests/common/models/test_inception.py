"""Inception-v2: TF-slim's number of parameters, and its variables in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.checkpoint import matching
from common.errors import ConfigError
from common.models import inception, inception_weights, registry
from tests.common.models import by_hand

SMALL = {
    "Mixed_3b": (3, (2, 4), (3, 2, 5), 2, "avg"),
    "Mixed_4a": ((3, 4), (2, 3, 4)),
    "Mixed_5c": (4, (3, 2), (2, 4, 3), 5, "max"),
}


def shapes(network, side=64):
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    return jax.eval_shape(network.init, jax.random.key(0), images)


def images(side=35):
    rng = np.random.default_rng(3)
    return rng.uniform(-1, 1, (2, side, side, 3)).astype(np.float32)


def test_size_of_tf_slims_network():
    """10,173,112: of inception_v2_base in TF-slim's test, statistics included."""
    variables = shapes(registry.backbone("inception_v2", 0))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 10_173_112


def test_names_of_tf_slim():
    variables = shapes(registry.backbone("inception_v2", 1001))
    names = [
        inception_weights.tensorflow_name(n) for n, _ in matching.leaves(variables)
    ]
    # 68 convolutions with norms of three arrays, the first layer, and the classifier.
    assert len(set(names)) == len(names) == 68 * 4 + 3 + 2
    assert {
        "InceptionV2/Conv2d_1a_7x7/depthwise_weights",
        "InceptionV2/Conv2d_1a_7x7/pointwise_weights",
        "InceptionV2/Conv2d_1a_7x7/biases",
        "InceptionV2/Conv2d_2c_3x3/BatchNorm/moving_variance",
        "InceptionV2/Mixed_3b/Branch_2/Conv2d_0c_3x3/weights",
        "InceptionV2/Mixed_4a/Branch_0/Conv2d_1a_3x3/BatchNorm/beta",
        "InceptionV2/Mixed_4a/Branch_1/Conv2d_0b_3x3/BatchNorm/moving_mean",
        "InceptionV2/Mixed_5c/Branch_3/Conv2d_0b_1x1/weights",
        "InceptionV2/Logits/Conv2d_1c_1x1/biases",
    } <= set(names)


class File:
    """Variables of `SMALL`, and what TF-slim makes of them."""

    def __init__(self, classes=5):
        self.rng, self.arrays = np.random.default_rng(0), {}
        self.random("Conv2d_1a_7x7/depthwise_weights", 7, 7, 3, 8)
        self.random("Conv2d_1a_7x7/pointwise_weights", 1, 1, 24, 64)
        self.random("Conv2d_1a_7x7/biases", 64)
        self.unit("Conv2d_2b_1x1", 64, 64)
        self.unit("Conv2d_2c_3x3", 64, 192)
        channels = 192
        for module, widths in SMALL.items():
            rows = self.rows(widths)
            for row in rows:
                into = channels
                for name, out in zip(*row, strict=True):
                    self.unit(f"{module}/{name}", into, out)
                    into = out
            kept = channels if len(widths) == 2 else 0
            channels = kept + sum(row[1][-1] for row in rows)
        self.random("Logits/Conv2d_1c_1x1/weights", 1, 1, channels, classes)
        self.random("Logits/Conv2d_1c_1x1/biases", classes)

    def random(self, name, *shape):
        scale = np.sqrt(2 / np.prod(shape[:-1])) if len(shape) > 1 else 0.3
        self.arrays[f"InceptionV2/{name}"] = (
            scale * self.rng.normal(size=shape)
        ).astype(np.float32)

    def unit(self, name, into, out):
        size = int(name[-1])
        self.random(f"{name}/weights", size, size, into, out)
        self.random(f"{name}/BatchNorm/beta", out)
        for array, least in (("moving_mean", -0.5), ("moving_variance", 0.5)):
            self.arrays[f"InceptionV2/{name}/BatchNorm/{array}"] = self.rng.uniform(
                least, least + 1, out
            ).astype(np.float32)

    def rows(self, widths):
        """Names and widths of the convolutions of each branch."""
        one, two = "Conv2d_0a_1x1", "Conv2d_0b_3x3"
        if len(widths) == 2:
            last = "Conv2d_1a_3x3"
            names = [(one, last), (one, two, last)]
        else:
            names = [(one,), (one, two), (one, two, "Conv2d_0c_3x3")]
            names.append(("Conv2d_0b_1x1",))
            widths = ((widths[0],), *widths[1:3], (widths[3],))
        return [
            ([f"Branch_{number}/{name}" for name in row], row_widths)
            for number, (row, row_widths) in enumerate(zip(names, widths, strict=True))
        ]

    def __getitem__(self, name):
        return self.arrays[f"InceptionV2/{name}"]

    def apply_unit(self, x, name, strides=1):
        weight = self[f"{name}/weights"].transpose(3, 2, 0, 1)
        x = by_hand.same_pad(x, weight.shape[-1], strides)
        x = by_hand.conv(x, weight, None, strides)
        beta, mean, var = (
            self[f"{name}/BatchNorm/{array}"]
            for array in ("beta", "moving_mean", "moving_variance")
        )
        return by_hand.relu(by_hand.norm(x, np.ones_like(beta), beta, mean, var, 1e-3))

    def logits(self, x):
        x, name = x.transpose(0, 3, 1, 2), "Conv2d_1a_7x7"
        x = by_hand.same_pad(x, 7, 2)
        each = self[f"{name}/depthwise_weights"].transpose(2, 3, 0, 1)
        x = np.concatenate(
            [by_hand.conv(x[:, [c]], each[c][:, None], None, 2) for c in range(3)], 1
        )
        across = self[f"{name}/pointwise_weights"].transpose(3, 2, 0, 1)
        x = by_hand.relu(by_hand.conv(x, across, self[f"{name}/biases"]))
        x = self.apply_unit(max_pool(x, 2), "Conv2d_2b_1x1")
        x = max_pool(self.apply_unit(x, "Conv2d_2c_3x3"), 2)
        for module, widths in SMALL.items():
            x = self.module(x, module, widths)
        last = "Logits/Conv2d_1c_1x1"
        return x.mean((2, 3)) @ self[f"{last}/weights"][0, 0] + self[f"{last}/biases"]

    def module(self, x, module, widths):
        found = []
        for number, (names, _) in enumerate(self.rows(widths)):
            pools = {"avg": mean_pool, "max": max_pool}
            y = pools[widths[-1]](x) if number == 3 else x
            for name in names:
                strides = 2 if "_1a_" in name else 1
                y = self.apply_unit(y, f"{module}/{name}", strides)
            found.append(y)
        if len(widths) == 2:
            found.append(max_pool(x, 2))
        return np.concatenate(found, 1)


def max_pool(x, strides=1):
    x = by_hand.same_pad(x, 3, strides, -np.inf)
    return by_hand.windows(x, 3, strides).max((-1, -2))


def mean_pool(x):
    x = by_hand.same_pad(x, 3, 1, np.nan)
    return np.nanmean(by_hand.windows(x, 3, 1), (-1, -2))


@pytest.fixture
def file(monkeypatch, tmp_path):
    monkeypatch.setattr(inception, "_MODULES", SMALL)
    written = File()
    np.savez(tmp_path / "inception.npz", global_step=7, **written.arrays)
    return written, tmp_path / "inception.npz"


def test_tf_slims_variables_are_read(file):
    written, path = file
    network = registry.backbone("inception_v2", 5)
    found = registry.read_weights("inception_v2", path, shapes(network))
    variables, report = matching.match(shapes(network), found)
    report.raise_if_any()
    logits = jax.jit(network.apply)(variables, images())
    np.testing.assert_allclose(logits, written.logits(images()), rtol=1e-3, atol=1e-4)
    assert inception_weights.read(path, shapes(registry.backbone("inception_v2"))) == {
        name: pytest.approx(array)
        for name, array in found.items()
        if not name.startswith("params/Logits/")
    }
    # A classifier of other width is for the loop to report or to make anew.
    other = inception_weights.read(path, shapes(registry.backbone("inception_v2", 9)))
    assert other["params/Logits/kernel"].shape == (
        written["Logits/Conv2d_1c_1x1/weights"].shape[2],
        5,
    )


def test_files_of_other_networks(file, tmp_path):
    written, _ = file
    path, target = tmp_path / "w.npz", shapes(registry.backbone("inception_v2"))
    norm = "InceptionV2/Mixed_3b/Branch_0/Conv2d_0a_1x1/BatchNorm/gamma"
    np.savez(path, **written.arrays, **{norm: np.ones(3)})
    with pytest.raises(ConfigError, match=f"its norms scale, as {norm}"):
        inception_weights.read(path, target)
    scoped = {f"FeatureExtractor/{k}": v for k, v in written.arrays.items()}
    np.savez(path, **scoped)
    with pytest.raises(ConfigError, match="arrays are missing, as InceptionV2/Conv2d"):
        inception_weights.read(path, target)
    kernel = "InceptionV2/Conv2d_1a_7x7/depthwise_weights"
    np.savez(path, **written.arrays | {kernel: np.ones((7, 7, 8, 3))})
    with pytest.raises(
        ConfigError, match=r"weights has shape \[7, 7, 8, 3\], expected"
    ):
        inception_weights.read(path, target)


def test_statistics_are_learned_in_training(file):
    written, path = file
    network = registry.backbone("inception_v2", 5, norm_momentum=0.75)
    variables = matching.nest(inception_weights.read(path, shapes(network)))

    @jax.jit
    def train(variables, key):
        return network.apply(
            variables,
            images(),
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )

    logits, new = train(variables, jax.random.key(0))
    again, _ = train(variables, jax.random.key(1))
    assert np.abs(logits - again).max() > 1e-4
    assert jax.tree.structure(new) == jax.tree.structure(
        {"batch_stats": variables["batch_stats"]}
    )
    # Of the first norm by hand, whose input does not depend on statistics.
    name = "Conv2d_2b_1x1"
    old = variables["batch_stats"][name]["BatchNorm"]
    found = new["batch_stats"][name]["BatchNorm"]
    x = by_hand.same_pad(images().transpose(0, 3, 1, 2), 7, 2)
    kernel = np.einsum(
        "hwcm,cmo->ochw",
        written["Conv2d_1a_7x7/depthwise_weights"],
        written["Conv2d_1a_7x7/pointwise_weights"].reshape(3, 8, 64),
    )
    x = by_hand.conv(x, kernel, written["Conv2d_1a_7x7/biases"], 2)
    x = max_pool(by_hand.relu(x), 2)
    x = by_hand.conv(x, written[f"{name}/weights"].transpose(3, 2, 0, 1))
    for array, value in (("mean", x.mean((0, 2, 3))), ("var", x.var((0, 2, 3)))):
        expected = 0.75 * old[array] + 0.25 * value
        np.testing.assert_allclose(found[array], expected, rtol=1e-3, atol=1e-4)


def test_mistakes():
    with pytest.raises(ConfigError, match="did you mean 'inception_v2'"):
        inception.backbone("inception_v3", 5, 224)
    with pytest.raises(ConfigError, match=r"norm_momentum is 1, expected one in"):
        inception.backbone("inception_v2", 5, 224, norm_momentum=1)
