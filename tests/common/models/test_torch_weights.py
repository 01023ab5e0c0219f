"""Networks of PyTorch: their own layout and names in NumPy, and read by ours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors

from common.checkpoint import matching, weights
from common.errors import ConfigError, DataError
from common.models import alexnet, registry, resnet, resnet_weights, torch_layout, vgg
from tests.common.models import by_hand

# Where torchvision's sequences of VGG-16 and -19 have their convolutions.
FEATURES = {
    16: (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
    19: (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
}
POOLS = {16: (4, 9, 16, 23, 30), 19: (4, 9, 18, 27, 36)}


def random(rng, *shape):
    fan = np.prod(shape[1:]) if len(shape) > 1 else 4
    return (rng.normal(size=shape) * np.sqrt(2 / fan)).astype(np.float32)


def shapes(network, side=64, **options):
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    return jax.eval_shape(
        lambda i: network.init(jax.random.key(0), i, **options), images
    )


def images(side, channels_first=False):
    x = np.random.default_rng(7).normal(size=(2, side, side, 3)).astype(np.float32)
    return x.transpose(0, 3, 1, 2) if channels_first else x


@pytest.fixture
def small_vgg(monkeypatch):
    monkeypatch.setattr(vgg, "_WIDTHS", (2, 3, 4, 5, 6))
    monkeypatch.setattr(vgg, "_HIDDEN", 8)


def vgg_file(depth, classes=5):
    """A file of torchvision with the widths of `small_vgg`."""
    rng, arrays, channels = np.random.default_rng(depth), {}, 3
    for index in FEATURES[depth]:
        width = 2 + sum(index > pool for pool in POOLS[depth])
        arrays[f"features.{index}.weight"] = random(rng, width, channels, 3, 3)
        arrays[f"features.{index}.bias"] = random(rng, width)
        channels = width
    for index, (out, width) in {
        0: (8, 6 * 7 * 7),
        3: (8, 8),
        6: (classes, 8),
    }.items():
        arrays[f"classifier.{index}.weight"] = random(rng, out, width)
        arrays[f"classifier.{index}.bias"] = random(rng, out)
    return arrays


def vgg_by_hand(arrays, x, depth):
    for index in range(POOLS[depth][-1] + 1):
        if index in POOLS[depth]:
            x = by_hand.max_pool(x, 2, 2)
        elif index in FEATURES[depth]:
            name = f"features.{index}"
            weight, bias = arrays[f"{name}.weight"], arrays[f"{name}.bias"]
            x = by_hand.relu(by_hand.conv(x, weight, bias, padding=1))
    x = x.reshape(len(x), -1)
    for index in (0, 3, 6):
        name = f"classifier.{index}"
        x = x @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]
        x = by_hand.relu(x) if index < 6 else x
    return x


@pytest.mark.usefixtures("small_vgg")
@pytest.mark.parametrize("depth", [16, 19])
def test_vgg_reads_torchvision(depth, tmp_path):
    """At 224 pixels, where nothing is adapted between trunk and classifier."""
    arrays = vgg_file(depth)
    safetensors.save_file(arrays, tmp_path / "vgg.safetensors")
    network = registry.backbone(f"vgg{depth}", 5)
    found = registry.read_weights(
        f"vgg{depth}", tmp_path / "vgg.safetensors", shapes(network, 224)
    )
    logits = jax.jit(network.apply)(matching.nest(found), images(224))
    expected = vgg_by_hand(arrays, images(224, channels_first=True), depth)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("small_vgg")
def test_vgg_reads_timm_and_a_trunk_alone(tmp_path):
    arrays = vgg_file(16)
    timm = {
        "classifier.0": "pre_logits.fc1",
        "classifier.3": "pre_logits.fc2",
        "classifier.6": "head.fc",
    }
    renamed = {
        name.replace(layer, timm.get(layer, layer)): array
        for name, array in arrays.items()
        for layer in [name.rpartition(".")[0]]
    }
    # There they are convolutions.
    for name, shape in (("fc1", (8, 6, 7, 7)), ("fc2", (8, 8, 1, 1))):
        key = f"pre_logits.{name}.weight"
        renamed[key] = renamed[key].reshape(shape)
    np.savez(tmp_path / "timm.npz", **renamed)
    safetensors.save_file(arrays, tmp_path / "torch.safetensors")
    network = registry.backbone("vgg16", 5)
    both = [
        vgg.read(tmp_path / name, shapes(network))
        for name in ("timm.npz", "torch.safetensors")
    ]
    jax.tree.map(np.testing.assert_array_equal, *both)
    trunk = vgg.read(tmp_path / "timm.npz", shapes(network, method="features"))
    assert trunk.keys() == {name for name in both[0] if "/trunk/" in name}
    # Ten classes are asked for: the loop sees the five of the file, and reports them.
    other = vgg.read(tmp_path / "timm.npz", shapes(registry.backbone("vgg16", 10)))
    assert other["params/fc8/kernel"].shape == (8, 5)
    features = vgg.read(tmp_path / "timm.npz", shapes(registry.backbone("vgg16", 0)))
    assert "params/fc8/kernel" not in features


@pytest.mark.usefixtures("small_vgg")
def test_vgg_features_and_training():
    network = registry.backbone("vgg16", 5)
    rng = np.random.default_rng(3)
    variables = jax.tree.map(lambda s: random(rng, *s.shape), shapes(network))
    maps = network.apply(variables, images(64), method="features")
    assert list(maps)[:3] == ["relu1_1", "relu1_2", "relu2_1"]
    assert maps["relu5_3"].shape == (2, 4, 4, 6)
    assert all(np.min(x) >= 0 for x in maps.values())
    headless = registry.backbone("vgg16", 0)
    params = {k: v for k, v in variables["params"].items() if k != "fc8"}
    features = headless.apply({"params": params}, images(64))
    last = variables["params"]["fc8"]
    np.testing.assert_allclose(
        network.apply(variables, images(64)),
        features @ last["kernel"] + last["bias"],
        rtol=1e-5,
        atol=1e-5,
    )
    one, two = (
        network.apply(variables, images(64), True, rngs={"dropout": jax.random.key(k)})
        for k in (0, 1)
    )
    assert np.abs(one - two).max() > 1e-4
    with pytest.raises(ValueError, match="at least 32 x 32 pixels, given 16 x 16"):
        network.apply(variables, images(16))
    with pytest.raises(ConfigError, match="did you mean 'vgg1"):
        vgg.create("vgg17")


@pytest.mark.parametrize("length", [2, 7, 10, 14, 17])
def test_adapted_pool_is_pytorchs(length):
    x = np.random.default_rng(0).normal(size=(1, length, 7, 2)).astype(np.float32)
    found = vgg._pool_to(jnp.asarray(x), 7)
    for i in range(7):
        window = x[:, i * length // 7 : -(-(i + 1) * length // 7)]
        np.testing.assert_allclose(found[:, i], window.mean(1), rtol=1e-5, atol=1e-6)


def test_alexnet_reads_torchvision(tmp_path):
    rng, arrays = np.random.default_rng(0), {}
    kinds = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3)}
    kinds |= {8: (256, 384, 3), 10: (256, 256, 3)}
    for index, (out, channels, size) in kinds.items():
        arrays[f"features.{index}.weight"] = random(rng, out, channels, size, size)
        arrays[f"features.{index}.bias"] = random(rng, out)
    np.savez(tmp_path / "alexnet.npz", **arrays)
    trunk = alexnet.Trunk()
    target = {"params": {"trunk": shapes(trunk)["params"]}}
    layers = {ours: [theirs] for ours, theirs in alexnet.TORCH_LAYERS.items()}
    found = torch_layout.read(
        [tmp_path / "alexnet.npz"], torch_layout.names(layers), target
    )
    params = matching.nest(found)["params"]["trunk"]
    maps = jax.jit(trunk.apply)({"params": params}, images(67))
    x, number = images(67, channels_first=True), 0
    for index in range(12):
        if index in (2, 5):
            x = by_hand.max_pool(x, 3, 2)
        if index not in kinds:
            continue
        number, size = number + 1, kinds[index][-1]
        name, stride = f"features.{index}", 4 if index == 0 else 1
        weight, bias = arrays[f"{name}.weight"], arrays[f"{name}.bias"]
        x = by_hand.relu(
            by_hand.conv(x, weight, bias, stride, 2 if size > 3 else size // 2)
        )
        np.testing.assert_allclose(
            maps[f"relu{number}"], x.transpose(0, 2, 3, 1), rtol=1e-3, atol=1e-4
        )
    least = alexnet.LEAST_SIDE
    smallest = jax.eval_shape(trunk.apply, {"params": params}, images(least))
    assert smallest["relu5"].shape == (2, 1, 1, 256)


def resnet_of(depths, classes=5):
    return resnet.ResNet(resnet.Bottleneck, depths, (4, 6), classes)


def resnet_file(depths):
    rng, channels = np.random.default_rng(1), 4
    arrays = {"conv1.weight": random(rng, 4, 3, 7, 7)}
    norms = {"bn1": 4}
    for stage, (depth, width) in enumerate(zip(depths, (4, 6), strict=True), 1):
        for number in range(depth):
            block = f"layer{stage}.{number}"
            kinds = {"conv1": (width, channels, 1), "conv2": (width, width, 3)}
            kinds["conv3"] = (4 * width, width, 1)
            if number == 0:
                kinds["downsample.0"] = (4 * width, channels, 1)
            for name, (out, into, size) in kinds.items():
                arrays[f"{block}.{name}.weight"] = random(rng, out, into, size, size)
                norm = name.replace("conv", "bn").replace("sample.0", "sample.1")
                norms[f"{block}.{norm}"] = out
            channels = 4 * width
    for name, width in norms.items():
        for array in ("weight", "bias", "running_mean", "running_var"):
            value = rng.uniform(0.5, 1.5, width).astype(np.float32)
            arrays[f"{name}.{array}"] = value
        arrays[f"{name}.num_batches_tracked"] = np.array(100, np.int64)
    arrays["fc.weight"], arrays["fc.bias"] = random(rng, 5, channels), random(rng, 5)
    return arrays


def resnet_by_hand(arrays, x, depths):
    def unit(x, conv, norm, strides=1, padding=0):
        x = by_hand.conv(x, arrays[f"{conv}.weight"], None, strides, padding)
        names = ("weight", "bias", "running_mean", "running_var")
        return by_hand.norm(x, *(arrays[f"{norm}.{name}"] for name in names))

    x = by_hand.relu(unit(x, "conv1", "bn1", 2, 3))
    x = by_hand.max_pool(x, 3, 2, 1)
    for stage, depth in enumerate(depths, 1):
        for number in range(depth):
            block = f"layer{stage}.{number}."
            strides = 2 if stage > 1 and number == 0 else 1
            y = by_hand.relu(unit(x, f"{block}conv1", f"{block}bn1"))
            y = by_hand.relu(unit(y, f"{block}conv2", f"{block}bn2", strides, 1))
            y = unit(y, f"{block}conv3", f"{block}bn3")
            if number == 0:
                x = unit(x, f"{block}downsample.0", f"{block}downsample.1", strides)
            x = by_hand.relu(x + y)
    return x.mean((2, 3)) @ arrays["fc.weight"].T + arrays["fc.bias"]


def test_resnet_reads_torchvision(tmp_path):
    arrays, network = resnet_file((2, 1)), resnet_of((2, 1))
    safetensors.save_file(arrays, tmp_path / "resnet.safetensors")
    found = resnet_weights.read(tmp_path / "resnet.safetensors", shapes(network))
    filled, report = matching.match(shapes(network), found)
    report.raise_if_any()
    logits = jax.jit(network.apply)(filled, images(37))
    expected = resnet_by_hand(arrays, images(37, channels_first=True), (2, 1))
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)


def test_resnet_classifiers_and_depths(tmp_path):
    safetensors.save_file(resnet_file((2, 1)), tmp_path / "resnet.safetensors")

    def read(depths, classes):
        network = resnet_of(depths, classes)
        return resnet_weights.read(tmp_path / "resnet.safetensors", shapes(network))

    assert "params/fc/kernel" not in read((2, 1), 0)
    assert read((2, 1), 9)["params/fc/kernel"].shape == (24, 5)
    with pytest.raises(ConfigError, match=r"deeper .* 15 arrays more, as layer1\.1"):
        read((1, 1), 5)
    with pytest.raises(ConfigError, match=r"15 of 77 arrays are missing, as layer2\.1"):
        read((2, 2), 5)


def test_names_of_the_largest_network_here():
    names = [name for name, _ in matching.leaves(shapes(registry.backbone("resnet50")))]
    theirs = {resnet_weights.torch_name(name) for name in names}
    # 53 convolutions and as many norms of four arrays.
    assert len(theirs) == len(names) == 53 * 5
    assert {
        "conv1.weight",
        "bn1.running_var",
        "layer1.0.downsample.0.weight",
        "layer1.0.downsample.1.running_mean",
        "layer3.5.conv3.weight",
        "layer4.2.bn3.bias",
    } <= theirs


def target(**arrays):
    shaped = {k: jax.ShapeDtypeStruct(v, jnp.float32) for k, v in arrays.items()}
    return {"params": {"layer": shaped}}


def test_kernels_of_one_by_one_are_matrices_of_others(tmp_path):
    weight = np.arange(6, dtype=np.float16).reshape(2, 3)
    known = torch_layout.names({"layer": ["a", "b"]})
    arrays = {"b.weight": weight[:, :, None, None], "b.bias": np.ones(2, np.float32)}
    np.savez(tmp_path / "w.npz", **arrays)
    for kernel in ((3, 2), (1, 1, 3, 2)):
        wanted = target(kernel=kernel, bias=(2,))
        found = torch_layout.read([tmp_path / "w.npz"], known, wanted)
        np.testing.assert_array_equal(
            found["params/layer/kernel"], weight.T.reshape(kernel)
        )
        assert found["params/layer/kernel"].dtype == np.float32
    # Our own files have our layout, a square kernel too.
    ours = {"params": {"layer": {"kernel": weight[:, :2], "bias": np.ones(2)}}}
    weights.save(tmp_path / "ours.npz", ours)
    wanted = target(kernel=(2, 2), bias=(2,))
    found = torch_layout.read([tmp_path / "ours.npz"], known, wanted)
    np.testing.assert_array_equal(found["params/layer/kernel"], weight[:, :2])


def mistakes(folder):
    """Yields the arrays of a file with a part of the message."""
    good = {"a.weight": np.ones((2, 3)), "a.bias": np.ones(2)}
    yield {}, "2 of 2 arrays are missing, as a.weight, a.bias; it holds nothing"
    yield {"c": np.ones(1)}, "it holds nothing|found c"
    yield {"a.bias": good["a.bias"]}, "1 of 2 arrays are missing, as a.weight; found a"
    wrong = good | {"a.weight": np.ones((3, 2))}
    yield wrong, r"a.weight has shape \[3, 2\], expected \[2, 3\]"
    yield good | {"a.bias": np.ones(2, np.int32)}, "a.bias holds int32"
    yield good | {"a.bias": np.array([1, np.nan])}, "a.bias .* not finite"
    ours = {"params/layer/kernel": np.ones((2, 3)), "a.bias": np.ones(2)}
    yield ours, r"params/layer/kernel has shape \[2, 3\], expected \[3, 2\]"


def test_mistakes_are_named_in_one_line(tmp_path):
    known = torch_layout.names({"layer": ["a"]})
    wanted = target(kernel=(3, 2), bias=(2,))
    path = tmp_path / "w.npz"
    for arrays, message in mistakes(tmp_path):
        np.savez(path, **arrays)
        with pytest.raises(ConfigError, match=message) as error:
            torch_layout.read([path], known, wanted)
        assert "\n" not in str(error.value)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ConfigError, match="truncated or broken"):
        torch_layout.read([path], known, wanted)
    with pytest.raises(DataError, match=r"no\.npz"):
        torch_layout.read([tmp_path / "no.npz"], known, wanted)
    with pytest.raises(ConfigError, match=r"is a pickle.*save_file\(.*w\.safetensors"):
        torch_layout.read([tmp_path / "w.pth"], known, wanted)
