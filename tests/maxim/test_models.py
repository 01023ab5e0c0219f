"""The network against the official one: names, counts, outputs, gradients, quirks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from maxim import models
from tests.maxim import golden

# Variant -> parameters at 1 and at 3 supervision scales, leaves at 3.
COUNTS = {
    "S-1": (6_108_515, 6_139_561, 766),
    "S-2": (13_353_830, 14_176_178, 1760),
    "S-3": (20_599_145, 22_212_795, 2754),
    "M-1": (19_361_219, 19_464_265, 766),
    "M-2": (40_839_110, 43_227_986, 1760),
    "M-3": (62_317_001, 66_991_707, 2754),
}
TINY = {
    "features": 8,
    "num_groups": 1,
    "num_bottleneck_blocks": 1,
    "block_size_hr": 4,
    "grid_size_hr": 4,
    "block_size_lr": 2,
}


@functools.cache
def shapes_of(variant):
    return golden.names(golden.shapes(models.create(variant)))


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(name, marks=pytest.mark.slow if name[2] == "3" else ())
        for name in COUNTS
    ],
)
def test_counts(variant):
    one, three, leaves = COUNTS[variant]
    assert len(shapes_of(variant)) == leaves
    assert sum(leaf.size for leaf in shapes_of(variant).values()) == three
    single = golden.shapes(models.create(variant, num_supervision_scales=1))
    assert sum(leaf.size for leaf in jax.tree.leaves(single)) == one


ODD = {
    "features": 8,
    "num_stages": 2,
    "num_supervision_scales": 2,
    "high_res_stages": 1,
    "block_size_hr": (8, 8),
    "grid_size_hr": (4, 4),
    "block_size_lr": (4, 4),
    "grid_size_lr": (2, 2),
    "input_proj_factor": 4,
    "block_gmlp_factor": 4,
    "channels_reduction": 2,
    "lrelu_slope": 0.1,
}


@pytest.mark.parametrize("name", ["S-1", "S-2", "S-3", "odd"])
def test_names_and_shapes(name):
    if name == "odd":  # every field that has an effect, and those that have none
        model = models.create(**ODD)
        found = golden.names(golden.shapes(model, model.size_multiple))
    else:
        found = shapes_of(name)
    expected = golden.read("param_shapes.json.gz")[name]
    assert {key: list(leaf.shape) for key, leaf in found.items()} == expected


@pytest.mark.parametrize(
    "name",
    ["nocg_32x48", "S-2_64", pytest.param("S-2_128", marks=pytest.mark.slow)],
)
def test_outputs(name):
    model, images = golden.model_of(name)
    params = golden.filled(golden.shapes(model, model.size_multiple))
    outputs = golden.run(model.apply, {"params": params}, images)
    check_outputs(outputs, name)


def check_outputs(outputs, name):
    arrays, facts = golden.read(f"{name}.npz"), golden.read("models.json")[name]
    assert sum(map(len, outputs)) == len(arrays)
    for stage, scales in enumerate(outputs):
        for scale, output in enumerate(scales):
            key = f"stage{stage}_out{scale}"
            assert list(output.shape) == facts["outputs"][key]["full_shape"]
            stride = facts["outputs"][key]["stride"]
            np.testing.assert_allclose(
                output[:, ::stride, ::stride], arrays[key], atol=golden.ATOL
            )


@pytest.fixture(scope="module")
def small():
    """Outputs, intermediates, loss and gradients of a network of three stages."""
    model, images = golden.model_of("small_64")
    params = golden.filled(golden.shapes(model))

    def loss(params, images):
        outputs, state = model.apply(
            {"params": params}, images, capture_intermediates=True
        )
        total = sum(jnp.mean(output**2) for output in jax.tree.leaves(outputs))
        return total, (outputs, state["intermediates"])

    run = jax.value_and_grad(loss, has_aux=True)
    (total, rest), gradients = golden.run(run, params, images)
    return *rest, total, gradients


def test_small_outputs(small):
    check_outputs(small[0], "small_64")


def test_small_intermediates(small):
    """Of all modules that have the layout of their official namesakes.

    Inside a gMLP the official code has patches; linear maps that became part of the
    next one, and mixes of tokens, have no map of their own here.
    """
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(small[1]):
        keys = [getattr(key, "key", getattr(key, "idx", None)) for key in path]
        call = keys.index("__call__")
        module, rest = "/".join(keys[:call]), keys[call + 2 :]
        # With the number of the output, where a module or its namesake has several.
        for number in {"", *(f"[{key}]" for key in rest)}:
            found.setdefault(module + number, []).append(leaf)
    compared = 0
    for name, expected in golden.read("small_64_intermediates.json.gz").items():
        shape = tuple(expected["shape"])
        leaves = [leaf for leaf in found.get(name, ()) if leaf.shape == shape]
        if not leaves or name.startswith("UpSampleRatio"):
            continue
        compared += 1
        picked = np.linspace(0, leaves[-1].size - 1, 6).astype(int)
        samples = np.asarray(leaves[-1]).ravel()[picked]
        np.testing.assert_allclose(
            samples, expected["samples"], atol=golden.ATOL, err_msg=name
        )
        assert np.mean(leaves[-1]) == pytest.approx(expected["mean"], abs=golden.ATOL)
    assert compared == 864


def test_small_gradients(small):
    *_, total, gradients = small
    expected = golden.read("small_64_grads.json.gz")
    assert total == pytest.approx(expected["loss"], abs=1e-6)
    norms = {k: float(jnp.linalg.norm(v)) for k, v in golden.names(gradients).items()}
    assert norms == pytest.approx(expected["grad_l2"], rel=1e-4, abs=1e-6)


@pytest.fixture(scope="module")
def tiny():
    """A network for images of 16 pixels, its parameters, and images."""
    model = models.create("S-2", num_supervision_scales=2, depth=2, **TINY)
    params = golden.filled(golden.shapes(model, 16))
    return model, params, golden.image("x", (2, 16, 32, 3))


def test_restore_is_the_last_output(tiny):
    model, params, images = tiny
    outputs = golden.run(model.apply, {"params": params}, images)
    restored = golden.run(
        lambda p, x: model.apply({"params": p}, x, method="restore"), params, images
    )
    np.testing.assert_allclose(restored, outputs[-1][-1], atol=1e-6)
    assert restored.shape == images.shape


def test_images_of_a_batch_are_independent(tiny):
    model, params, images = tiny

    def restore(params, images):
        return model.apply({"params": params}, images, method="restore")

    both, alone = (golden.run(restore, params, x) for x in (images, images[1:]))
    np.testing.assert_allclose(both[1:], alone, atol=1e-5)


@pytest.mark.slow
def test_remat_changes_no_gradient():
    images = golden.image("x", (1, 16, 16, 3))
    gradients = []
    for remat in ("none", "full"):
        fields = TINY | {"depth": 1, "num_stages": 2, "remat": remat}
        network = models.create("S-1", num_supervision_scales=1, **fields)

        def loss(params, network=network):
            outputs = network.apply({"params": params}, images, train=True)
            return sum(jnp.mean(output**2) for output in jax.tree.leaves(outputs))

        params = golden.filled(golden.shapes(network, 16))
        steps = {step.primitive.name for step in jax.make_jaxpr(loss)(params).eqns}
        assert ("dot_general" in steps) == (remat == "none")  # else in blocks alone
        gradients.append(golden.run(jax.grad(loss), params))
    for one, other in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_bfloat16(tiny):
    model, params, images = tiny
    restored = golden.run(
        lambda p, x: model.clone(dtype=jnp.bfloat16).apply(
            {"params": p}, x, method="restore"
        ),
        params,
        images,
    )
    assert restored.dtype == jnp.float32  # as the image it is added to
    plain = golden.run(
        lambda p, x: model.apply({"params": p}, x, method="restore"), params, images
    )
    error = np.abs(np.asarray(restored, np.float32) - plain)
    assert 0 < error.mean() < 0.02


@pytest.mark.slow
def test_initial_values():
    """The spread of each kind of kernel, and the gates' biases of one."""
    model = models.create("S-1", **TINY | {"features": 16})
    images = jnp.zeros((1, 16, 16, 3))
    params = golden.names(golden.run(model.init, jax.random.key(0), images)["params"])
    gate = "stage_0_cross_gating_block_0/SplitHeadMultiAxisGating_x"
    block = "stage_0_encoder_block_0/SplitHeadMultiAxisGmlpLayer_0"
    for name, deviation in (
        (f"{block}/in_project/kernel", 0.02),
        (f"{block}/BlockGmlpLayer/BlockGatingUnit/Dense_0/kernel", 0.02),
        (f"{gate}/Dense_0/kernel", 0.02),
        (f"{gate}/in_project/kernel", 16**-0.5),
        ("stage_0_encoder_block_0/Conv_1/kernel", (16 * 16) ** -0.5),
    ):
        assert np.std(params[name]) == pytest.approx(deviation, rel=0.2), name
    for name, value in params.items():
        if name.endswith("bias"):
            gates = "Gating_" in name and "Dense_" in name
            assert (value == (1 if gates else 0)).all(), name
        if name.endswith("scale"):
            assert (value == 1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "S-4"}, "S-3"),
        ({"feature": 8}, "did you mean 'features'"),
        ({"num_supervision_scales": 4}, "depth"),
        ({"features": 0}, "positive"),
        ({"num_groups": 0}, "num_groups is a positive"),
        ({"num_bottleneck_blocks": -1}, "num_bottleneck_blocks is .* from 0 on"),
        ({"high_res_stages": -3}, "high_res_stages"),
        ({"num_outputs": 4}, "num_outputs=4"),
        ({"block_size_hr": (8, 0)}, "block_size_hr"),
        ({"remat": "ful"}, "full"),
        ({"dropout_rate": 1.0}, "dropout_rate"),
    ],
)
def test_wrong_fields(arguments, message):
    with pytest.raises(ConfigError, match=message):
        models.create(**arguments)


@pytest.mark.parametrize("shape", [(1, 65, 64, 3), (1, 64, 64, 4), (64, 64, 3)])
def test_wrong_images(shape):
    with pytest.raises(ConfigError, match="multiples of 64"):
        jax.eval_shape(
            models.create("S-1").init,
            jax.random.key(0),
            jax.ShapeDtypeStruct(shape, "f4"),
        )


@pytest.mark.parametrize(
    ("fields", "multiple"),
    [({}, 64), (TINY, 16), ({"block_size_lr": 3}, 96), ({"depth": 2}, 32)],
)
def test_size_multiple(fields, multiple):
    fields = {"num_supervision_scales": 1} | fields
    assert models.create("S-1", **fields).size_multiple == multiple
