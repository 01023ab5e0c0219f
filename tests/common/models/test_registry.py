"""Names stand for networks, which are imported when they are asked for."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.classification import Classification
from common.data.normalization import STYLES
from common.errors import ConfigError, DataError
from common.models import registry

# Name -> width of the features, and parameters with 1,000 classes.
COUNTS = {
    "resnet18": (512, 11_689_512),
    "resnet34": (512, 21_797_672),
    "resnet50": (2048, 25_557_032),
    "vgg16": (4096, 138_357_544),
    "vgg19": (4096, 143_667_240),
    "mobilenet_v2": (1280, 3_504_872),
    "densenet121": (1024, 7_978_856),
    "efficientnet_b0": (1280, 5_288_548),
    "inception_v2": (1024, 11_178_336),
    # Keras counts 34,432 moving averages too: 23,851,784.
    "inception_v3": (2048, 23_817_352),
    "maxvit_tiny": (512, 30_916_528),
    "maxvit_small": (768, 68_927_956),
}


def described(name, num_classes, side=224):
    """Shapes of variables and output, and the number of parameters."""
    network = registry.backbone(name, num_classes, image_size=side)
    images = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    out = jax.eval_shape(network.apply, variables, images)
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    return out, count


@pytest.mark.parametrize("name", COUNTS)
def test_published_sizes(name):
    width, count = COUNTS[name]
    logits, found = described(name, 1000)
    assert (logits.shape, found) == ((2, 1000), count)
    features, without = described(name, 0)
    assert features.shape == (2, width)
    assert features.dtype == jnp.float32
    assert found - without == 1000 * (width + 1)


@pytest.mark.parametrize("name", ["resnet20", "vgg16", "mobilenet_v2", "inception_v2"])
def test_half_precision_is_of_activations_alone(name):
    network = registry.backbone(name, 0, dtype="bfloat16")
    images = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    jaxpr = str(jax.make_jaxpr(network.apply)(variables, images))
    assert " bf16[" in jaxpr or ":bf16[" in jaxpr
    assert jax.eval_shape(network.apply, variables, images).dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def filled(leaf):
    """Some values of an array: drawing those of the network takes longer."""
    rng = np.random.default_rng(leaf.size)
    if leaf.ndim < 2:
        return rng.uniform(0.5, 1.5, leaf.shape).astype(leaf.dtype)
    scale = np.prod(leaf.shape[:-1]) ** -0.5
    return (scale * rng.normal(size=leaf.shape)).astype(leaf.dtype)


@pytest.mark.parametrize("name", ["resnet20", "maxvit_testing", "cnniqa"])
def test_logits_are_a_dense_layer_on_the_features(name):
    options = {"hidden": 16, "kernels": 4} if name == "cnniqa" else {}
    networks = [
        registry.backbone(name, classes, image_size=64, **options) for classes in (0, 7)
    ]
    images = jax.random.normal(jax.random.key(1), (2, 64, 64, 3))
    shapes = jax.eval_shape(networks[1].init, jax.random.key(0), images)
    variables = jax.tree.map(filled, shapes)
    features, logits = (jax.jit(net.apply)(variables, images) for net in networks)
    last = {
        "resnet20": lambda p: p["fc"],
        "maxvit_testing": lambda p: p["head"]["logits"],
        "cnniqa": lambda p: p["logits"],
    }[name](variables["params"])
    expected = features @ last["kernel"] + last["bias"]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_every_entry_can_be_found():
    for entry in registry.BACKBONES.values():
        assert callable(registry._resolve(entry.create))
        assert entry.weights is None or callable(registry._resolve(entry.weights))


def test_images_as_the_published_weights_expect_them():
    styles = {name: registry.normalization(name) for name in registry.BACKBONES}
    assert set(styles.values()) <= STYLES.keys()
    half = {name for name, style in styles.items() if style == "half"}
    assert half == {"mobilenet_v2", "inception_v2", "inception_v3"}
    with pytest.raises(ConfigError, match="unknown backbone 'vgg'"):
        registry.normalization("vgg")


def test_mistakes():
    with pytest.raises(ConfigError, match="did you mean 'resnet50'"):
        registry.backbone("resnet5")
    with pytest.raises(ConfigError, match="unknown field of CnnIqa 'hiden'"):
        registry.backbone("cnniqa", hiden=3)
    with pytest.raises(ConfigError, match="unknown MaxViT field"):
        registry.backbone("maxvit_tiny", width=3)
    with pytest.raises(ConfigError, match="published weights of cnniqa are not read"):
        registry.read_weights("cnniqa", "file.npz", {})
    with pytest.raises(DataError, match=r"no weights: searched no\.npz"):
        registry.read_weights("resnet50", "no.npz", {})


@pytest.mark.parametrize("name", registry.CLASSIFIERS)
def test_every_name_is_a_classifier(name):
    kind = registry.find(name)
    assert issubclass(kind, Classification)
    assert kind is not Classification


def test_unknown_name_is_answered_with_the_closest():
    with pytest.raises(ConfigError, match=r"classifier 'maxvitt'; did you mean 'maxv"):
        registry.find("maxvitt")


def test_nothing_is_imported_before_it_is_asked_for():
    code = (
        "import sys; from common.models import registry; "
        "names = [*registry.CLASSIFIERS.values(), *(b.create for b in registry."
        "BACKBONES.values())]; packages = {n.split(':')[0] for n in names}; "
        "sys.exit(bool({'jax', *packages} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
