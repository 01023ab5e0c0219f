"""LPIPS, DISTS and the trunks under them: golden values, files, gradients, refusals."""

import functools
import json
import pathlib
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from safetensors import numpy as safetensors

from common.checkpoint import weights
from common.errors import ConfigError, DataError
from common.metrics import perceptual, trunks
from common.models import vgg

GOLDEN = json.loads(
    (pathlib.Path(__file__).parents[2] / "golden/perceptual.json").read_text()
)
# Positions in torchvision's sequence, by the slice of lpips and the stage of DISTS.
VGG16 = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
ALEX = ((0,), (3,), (6,), (8,), (10,))
VGG19 = ((0, 2), (5, 7), (10, 12, 14, 16), (19, 21, 23, 25), (28, 30, 32, 34))
ALEX_SHAPES = (64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3)
SLICES = {"vgg": VGG16, "alex": ALEX}
HEADS = {"vgg": (64, 128, 256, 512, 512), "alex": (64, 192, 384, 256, 256)}
SHAPE = (1, 64, 64, 3)


def state(name):
    return np.random.RandomState(zlib.crc32(name.encode()))


def array(name, shape):
    """The recipe of the fixture: any array is a function of its name."""
    z = state(name).standard_normal(shape)
    if name.startswith("lin") or name in ("alpha", "beta"):
        z = np.abs(z) * 0.1
    else:
        z *= 0.1 if len(shape) == 1 else 1.4 / np.sqrt(np.prod(shape[1:]))
    return z.astype(np.float32)


def trunk(slices):
    """Returns the arrays of a trunk with torchvision's names."""
    arrays, wide = {}, 3
    for number, indices in enumerate(slices):
        for index in indices:
            shape = (min(64 * 2**number, 512), wide, 3, 3)
            if slices is ALEX:
                shape = (*ALEX_SHAPES[number], ALEX_SHAPES[number][-1])
            for kind, size in (("weight", shape), ("bias", shape[:1])):
                name = f"features.{index}.{kind}"
                arrays[name] = array(name, size)
            wide = shape[0]
    return arrays


def renamed(arrays, slices, prefix):
    """Returns a trunk as lpips or DISTS name it: "net.slice1.0.weight"."""
    where = {i: n for n, indices in enumerate(slices, 1) for i in indices}
    parts = {name: name.split(".") for name in arrays}
    return {
        f"{prefix}{where[int(index)]}.{index}.{kind}": arrays[name]
        for name, (_, index, kind) in parts.items()
    }


def heads(net):
    names = [f"lin{number}.model.1.weight" for number in range(5)]
    widths = zip(names, HEADS[net], strict=True)
    return {name: array(name, (1, width, 1, 1)) for name, width in widths}


def pair(metric="lpips", shape=SHAPE):
    a = state(f"{metric}/a/{shape}").random_sample(shape)
    noise = state(f"{metric}/b/{shape}").random_sample(shape)
    b = np.clip(a + 0.3 * (noise - 0.5), 0, 1)
    return a.astype(np.float32), b.astype(np.float32)


@pytest.fixture(scope="module")
def trunk_arrays():
    return {"alex": trunk(ALEX), "vgg": trunk(VGG16)}


@pytest.fixture(scope="module")
def whole_files(trunk_arrays, tmp_path_factory):
    """The state of a whole model of lpips, in one file."""
    paths = {}
    for net, arrays in trunk_arrays.items():
        held = renamed(arrays, SLICES[net], "net.slice") | heads(net)
        held["scaling_layer.shift"] = np.zeros((1, 3, 1, 1), np.float32)
        held["lins.0.model.1.weight"] = held["lin0.model.1.weight"]
        paths[net] = tmp_path_factory.mktemp(net) / "lpips.safetensors"
        safetensors.save_file(held, paths[net])
    return paths


@pytest.fixture(scope="module")
def alex(whole_files):
    return perceptual.load_lpips(whole_files["alex"], "alex")


@pytest.fixture(scope="module")
def dists_variables(trunk_arrays, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dists")
    arrays = {n: array(n, (1, 1475, 1, 1)) for n in ("alpha", "beta")}
    arrays |= renamed(trunk_arrays["vgg"], VGG16, "stage")
    arrays["stage2.4.filter"] = np.ones((64, 1, 3, 3), np.float32)
    safetensors.save_file(arrays, folder / "dists.safetensors")
    return perceptual.load_dists(folder / "dists.safetensors")


lpips = jax.jit(perceptual.lpips, static_argnames="net")
dists = jax.jit(perceptual.dists)


@functools.cache
def sloped(distance):
    """Returns a distance, summed over its pairs, with its gradient in the first."""
    total = lambda *images, **options: distance(*images, **options).sum()  # noqa: E731
    return jax.jit(jax.value_and_grad(total, argnums=1), static_argnames="net")


@pytest.mark.parametrize("net", ["vgg", "alex"])
def test_lpips_is_that_of_the_authors_package(net, whole_files):
    variables = perceptual.load_lpips(whole_files[net], net)
    expected, (a, b) = GOLDEN["lpips"][net], pair()
    layers = jax.jit(perceptual.lpips_layers, static_argnames="net")
    # The other way round and an equal pair, in one batch.
    first, second = np.concatenate([a, b, a]), np.concatenate([b, a, a])
    found = layers(variables, first, second, net=net)
    assert tuple(found) == perceptual.NETS[net][1]
    for value, golden in zip(found.values(), expected["per_layer"], strict=True):
        np.testing.assert_allclose(value, [golden, golden, 0], 1e-5, 1e-12)
    total = np.sum(list(found.values()), axis=0)
    np.testing.assert_allclose(total[:2], expected["distance"], rtol=1e-5)


def test_lpips_is_the_sum_of_its_layers(alex):
    a, b = pair()
    found = lpips(alex, a, b, net="alex")
    assert found.shape == (1,)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, GOLDEN["lpips"]["alex"]["distance"], rtol=1e-5)


def test_lpips_of_bytes(alex):
    a, b = (np.round(x * 255).astype(np.uint8) for x in pair())
    expected = lpips(alex, np.float32(a) / 255, np.float32(b) / 255, net="alex")
    np.testing.assert_allclose(lpips(alex, a, b, net="alex"), expected, rtol=1e-6)


@pytest.mark.parametrize("head", ["lin{}.model.1", "lins.{}.model.1", "lin{}.1"])
def test_files_of_torchvision_and_heads(head, alex, trunk_arrays, tmp_path):
    held = heads("alex").values()
    named = {head.format(k) + ".weight": x for k, x in enumerate(held)}
    np.savez(tmp_path / "heads.npz", **named)
    classifier = {"classifier.6.weight": np.ones((9, 9), np.float32)}
    safetensors.save_file(
        trunk_arrays["alex"] | classifier, tmp_path / "alex.safetensors"
    )
    paths = [tmp_path / "alex.safetensors", str(tmp_path / "heads.npz")]
    found = perceptual.load_lpips(paths, "alex")
    jax.tree.map(np.testing.assert_array_equal, found, alex)


def test_own_file(alex, tmp_path):
    weights.save(tmp_path / "own.safetensors", alex)
    found = perceptual.load_lpips(tmp_path / "own.safetensors", "alex")
    jax.tree.map(np.testing.assert_array_equal, found, alex)


def test_gradient_of_lpips(alex):
    a, b = pair()
    value = sloped(perceptual.lpips)
    before, slope = value(alex, b, a, net="alex")
    assert np.isfinite(slope).all()
    closer, _ = value(alex, b - 0.02 * slope / np.abs(slope).max(), a, net="alex")
    assert closer < before
    same, slope = value(alex, a, a, net="alex")
    assert same == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(slope, 0, atol=1e-9)


def test_gradient_of_lpips_where_there_are_no_features(alex):
    dead = jax.tree.map(jnp.zeros_like, alex["params"]["trunk"])
    variables = {"params": alex["params"] | {"trunk": dead}}
    a, b = pair()
    value, slope = sloped(perceptual.lpips)(variables, a, b, net="alex")
    assert value == 0
    np.testing.assert_array_equal(slope, 0)


def test_pairs_stay_where_they_are_when_sharded(alex):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    a, b = pair(shape=(8, 31, 31, 3))
    split = NamedSharding(mesh, PartitionSpec("data"))
    whole = jax.device_put(alex, NamedSharding(mesh, PartitionSpec()))
    sharded = [jax.device_put(x, split) for x in (a, b)]
    program = lpips.lower(whole, *sharded, net="alex").compile()
    text = program.as_text()
    assert not [kind for kind in ("all-", "collective") if kind in text]
    np.testing.assert_allclose(
        program(whole, *sharded), lpips(alex, a, b, net="alex"), rtol=1e-5
    )


def test_maps_of_vgg19_are_those_of_torchvision(tmp_path):
    path = tmp_path / "vgg19.safetensors"
    safetensors.save_file(trunk(VGG19), path)
    variables = perceptual.load_trunk(path, "vgg19")
    expected = {k: v for k, v in GOLDEN["vgg19"].items() if k != "source"}
    images = state("vgg19/x").random_sample(SHAPE).astype(np.float32)
    taps = tuple(reversed(expected))
    maps = jax.jit(perceptual.features, static_argnames="taps")(
        variables, images, taps=taps
    )
    assert list(maps) == sorted(taps)  # A dict that leaves `jax.jit` is sorted.
    for tap, golden in expected.items():
        found = np.asarray(maps[tap])
        assert list(found.shape) == golden["shape"]
        ends = [*found.ravel()[:4], *found.ravel()[-4:]]
        np.testing.assert_allclose(
            [found.mean(), found.std(), *ends],
            [golden["mean"], golden["std"], *golden["first4"], *golden["last4"]],
            rtol=1e-5,
            atol=1e-5 * golden["std"],  # Some values are small differences.
        )


def test_features_as_they_are_asked_for(alex):
    images = pair()[0]
    every = perceptual.features(alex, images, net="alex")
    assert list(every) == trunks.tap_names("alex")
    two = perceptual.features(alex, images, ["relu3", "relu1"], net="alex")
    assert list(two) == ["relu3", "relu1"]
    np.testing.assert_array_equal(two["relu3"], every["relu3"])
    with pytest.raises(ConfigError, match=r"unknown tap of alex 'relu1_2'; did you"):
        perceptual.features(alex, images, ["relu1_2"], net="alex")
    with pytest.raises(ConfigError, match=r"'vgg'; .*\(choices: alex, vgg16, vg"):
        perceptual.features(alex, images, net="vgg")
    with pytest.raises(ValueError, match="at least 31 pixels, given 30 x 64"):
        perceptual.features(alex, images[:, :30], net="alex")


def test_maps_before_relus(monkeypatch):
    monkeypatch.setattr(vgg, "_WIDTHS", (2, 3, 4, 5, 6))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda s: rng.normal(size=s.shape).astype(np.float32),
        {"params": {"trunk": trunks.parameters("vgg19")}},
    )
    images = rng.random((2, 16, 16, 3), np.float32)
    every = trunks.features(variables, images)
    assert list(every) == trunks.tap_names("vgg19")
    taps = ["conv3_2", "relu5_4", "conv1_1", "relu3_2", "conv5_4"]
    maps = trunks.features(variables, images, taps)
    assert list(maps) == taps
    for number in ("3_2", "5_4"):
        before = maps[f"conv{number}"]
        assert np.min(before) < 0
        np.testing.assert_allclose(
            np.maximum(before, 0), every[f"relu{number}"], rtol=1e-5, atol=1e-5
        )
    layer = variables["params"]["trunk"]["conv1_1"]
    window = trunks.imagenet(images)[:, 3:6, 7:10]
    expected = np.einsum("bhwc,hwcd->bd", window, layer["kernel"]) + layer["bias"]
    np.testing.assert_allclose(maps["conv1_1"][:, 4, 8], expected, rtol=1e-4, atol=1e-5)
    for tap, close in (("conv3_5", "conv3_"), ("conv6_1", "conv")):
        with pytest.raises(ConfigError, match=f"'{tap}'; did you mean '{close}"):
            trunks.features(variables, images, [tap])
    with pytest.raises(ConfigError, match="unknown tap of alex 'conv1'"):
        trunks.features({}, images, ["conv1"], net="alex")


def test_the_gradient_of_a_relu_at_zero_is_zero(monkeypatch):
    """Where that of a maximum would be 1/2, and zeros in two maps would pull."""
    monkeypatch.setattr(vgg, "_WIDTHS", (2, 3, 4, 5, 6))
    zeros = jax.tree.map(
        lambda s: np.zeros(s.shape, np.float32), trunks.parameters("vgg16")
    )

    def total(trunk):
        images = np.ones((1, 16, 16, 3), np.float32)
        variables = {"params": {"trunk": trunk}}
        return trunks.features(variables, images, ["relu1_1"], net="vgg16")[
            "relu1_1"
        ].sum()

    slope = jax.jit(jax.grad(total))(zeros)["conv1_1"]["bias"]
    np.testing.assert_array_equal(slope, 0)


def test_dists_is_that_of_the_authors_package(dists_variables):
    a, b = pair("dists", (2, 45, 38, 3))
    expected = GOLDEN["dists"]["distance"]
    np.testing.assert_allclose(dists(dists_variables, a, b), expected, rtol=1e-5)


def test_dists_is_a_distance(dists_variables):
    a, b = pair("dists", (1, 20, 16, 3))
    value = sloped(perceptual.dists)
    (there, _), (back, _) = value(dists_variables, a, b), value(dists_variables, b, a)
    np.testing.assert_allclose(there, back, rtol=1e-6)
    same, slope = value(dists_variables, a, a)
    assert same == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(slope, 0, atol=1e-9)
    black = np.zeros_like(a)
    far, slope = value(dists_variables, black, b)
    assert 0 < far <= 1
    assert np.isfinite(slope).all()


def test_dists_from_torchvision_and_weights(dists_variables, trunk_arrays, tmp_path):
    np.savez(tmp_path / "vgg16.npz", **trunk_arrays["vgg"])
    two = {name: array(name, (1, 1475, 1, 1)) for name in ("alpha", "beta")}
    np.savez(tmp_path / "dists.npz", **two)
    paths = [tmp_path / "vgg16.npz", tmp_path / "dists.npz"]
    found = perceptual.load_dists(paths)
    jax.tree.map(np.testing.assert_array_equal, found, dists_variables)
    np.savez(tmp_path / "dists.npz", **{name: -two[name] for name in two})
    with pytest.raises(ConfigError, match=r"dists.npz.*alpha and beta have the sum -"):
        perceptual.load_dists(paths)
    with pytest.raises(ConfigError, match="2 of 28 arrays are missing, as alpha, beta"):
        perceptual.load_dists(paths[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"lin2.model.1.weight": None},
            r"1 of 15 .* missing, as lin2\.model\.1",
        ),
        ({"features.6.bias": None}, r"1 of 15 .* missing, as features\.6\.bias"),
        ({"lin0.model.1.weight": np.ones((1, 63, 1, 1))}, r"lin0.*\[1, 63, 1, 1\]"),
        (
            {"features.0.weight": np.ones((64, 3, 3, 3))},
            r"features\.0.*\[64, 3, 11",
        ),
        ({"features.3.bias": np.full(192, np.nan)}, r"features\.3\.bias.*not finite"),
    ],
)
def test_files_that_hold_no_lpips(change, message, trunk_arrays, tmp_path):
    arrays = trunk_arrays["alex"] | heads("alex") | change
    path = tmp_path / "x.safetensors"
    safetensors.save_file({k: v for k, v in arrays.items() if v is not None}, path)
    with pytest.raises(ConfigError, match=message):
        perceptual.load_lpips(path, "alex")


def test_what_is_refused(alex, tmp_path):
    a, b = pair()
    unknown = r"unknown network of LPIPS 'vgg16'; did you mean 'vgg'\? \(choices: alex"
    for call in (
        lambda: perceptual.lpips(alex, a, b, net="vgg16"),
        lambda: perceptual.load_lpips(tmp_path, "vgg16"),
    ):
        with pytest.raises(ConfigError, match=unknown):
            call()
    with pytest.raises(ConfigError, match=r"is a pickle.*convert it once"):
        perceptual.load_lpips(tmp_path / "alex.pth", "alex")
    with pytest.raises(DataError, match=r"none\.npz"):
        perceptual.load_dists(tmp_path / "none.npz")
    with pytest.raises(ConfigError, match="no weight file is given"):
        perceptual.load_trunk([], "vgg16")
    for first, second, message in (
        (a, b[:, 1:], r"shapes \(1, 64, 64, 3\) and \(1, 63, 64, 3\)"),
        (a[0], b[0], r"\[B, H, W, 3\], given \[64, 64, 3\]"),
        (a[..., :1], b[..., :1], r"given \[1, 64, 64, 1\]"),
        (a[:, :30], b[:, :30], "at least 31 pixels, given 30 x 64"),
        (a, b.astype(np.int32), r"floats in \[0, 1\] or uint8, given int32"),
    ):
        with pytest.raises(ValueError, match=message):
            perceptual.lpips(alex, first, second, net="alex")
    with pytest.raises(ValueError, match="at least 16 pixels, given 64 x 15"):
        perceptual.lpips({}, a[:, :, :15], b[:, :, :15], net="vgg")
