"""The task that learns preferences: loss, evaluation, weights, prediction."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image
from skimage import data

from common.checkpoint import weights
from common.errors import ConfigError, DataError
from common.metrics import preference
from iqa import pairs, preference_demo
from iqa.pairs import Pair, PairSource, Version
from iqa.preference_config import default_config
from iqa.preference_task import Preference

SIDE = 16


def config_of(**fields):
    config = default_config()
    config.data.source = "fake"
    config.data.image_size = SIDE
    config.model.backbone = "small"
    config.model.dropout = 0.0
    flat = {name.replace("__", "."): value for name, value in fields.items()}
    with config.unlocked():
        config.update_from_flattened_dict(flat)
    return config


def started(task):
    spec = task.batch_spec(1)
    batch = {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in spec.items()}
    return jax.jit(task.init)(jax.random.key(0), batch)


@pytest.fixture(scope="module")
def task():
    return Preference(config_of())


@pytest.fixture(scope="module")
def variables(task):
    return started(task)


def batch_of(shares, seed=0):
    """Noise as reference; the second version is nearer to it."""
    rng = np.random.default_rng(seed)
    shape = (len(shares), SIDE, SIDE, 3)
    reference = rng.integers(40, 216, shape)
    errors = [scale * rng.standard_normal(shape) for scale in (30, 8)]
    first, second = (np.clip(reference + error, 0, 255) for error in errors)
    arrays = dict(zip(pairs.PICTURES, (reference, first, second), strict=True))
    return {
        **{name: jnp.asarray(array, jnp.uint8) for name, array in arrays.items()},
        "preference": jnp.asarray(shares, jnp.float32),
        "id": jnp.arange(len(shares)),
    }


def test_loss_is_the_cross_entropy_of_the_evaluation(task, variables):
    batch = batch_of([1.0, 0.75, 0.5])
    found = task._evaluate(variables, batch)
    gap = np.asarray(found["second"] - found["first"], np.float64)
    assert np.all(gap > 0)
    share = np.asarray(batch["preference"], np.float64)
    expected = np.logaddexp(0, gap) - share * gap
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-5, atol=1e-6)
    out = jax.jit(task.loss)(variables, batch, jax.random.key(0))
    np.testing.assert_allclose(out.loss, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out.metrics["two_alternative"], share)
    np.testing.assert_allclose(
        task.example_losses(variables, batch), expected, rtol=1e-5, atol=1e-6
    )


def test_nothing_should_beat_the_reference():
    options = {"model__name": "concatenation", "loss__reference_weight": 0.5}
    weighted = Preference(config_of(**options))
    plain = Preference(config_of(model__name="concatenation"))
    variables, batch = started(weighted), batch_of([0.5, 0.5])
    key = jax.random.key(0)
    losses = [
        jax.jit(task.loss)(variables, batch, key).loss for task in (weighted, plain)
    ]
    reference, versions = weighted._pictures(batch)
    every = jnp.concatenate([versions, reference[None]])
    scores = jax.jit(weighted.model.apply)(variables, reference, every)
    above = jnp.mean(jax.nn.relu(scores[:2] - scores[2]), 0)
    np.testing.assert_allclose(losses[0] - losses[1], 0.5 * above, atol=1e-5)
    assert np.any(above > 0)


def test_it_learns_the_rule_that_made_the_labels():
    """The second acceptance test of spec 11.5, and near the floor of the first.

    32 pairs of noise, of which the version with less of it is preferred.
    """
    task = Preference(config_of())
    params = started(task)["params"]
    optimizer = optax.adam(3e-2)
    both = batch_of(np.ones(32), seed=1)
    swap = np.arange(32) % 2 == 1
    mask = jnp.asarray(swap)[:, None, None, None]
    batch = {
        **both,
        "first": jnp.where(mask, both["second"], both["first"]),
        "second": jnp.where(mask, both["first"], both["second"]),
        "preference": jnp.where(jnp.asarray(swap), 0.125, 0.875),
    }

    @jax.jit
    def step(params, state):
        def loss(params):
            return task.loss({"params": params}, batch, jax.random.key(0)).loss.mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state, value

    state = optimizer.init(params)
    for _ in range(60):
        params, state, value = step(params, state)
    floor = preference.label_entropy(batch["preference"])
    assert floor == pytest.approx(0.376770, abs=1e-5)
    assert floor <= value < floor + 0.01
    found = task._evaluate({"params": params}, batch)
    outputs = {name: np.asarray(array) for name, array in found.items()}
    assert task.summarize(outputs)["majority_accuracy"] > 0.95


def test_summary():
    outputs = {
        "first": np.array([0.0, 1.0, 0.0, 2.0]),
        "second": np.array([1.0, 0.0, 0.0, 1.0]),
        "preference": np.array([1.0, 0.25, 0.5, 0.75]),
        "probability": np.array([0.7, 0.3, 0.5, 0.3]),
        "loss": np.array([0.2, 0.6, 0.7, 1.0]),
    }
    found = Preference(config_of()).summarize(outputs)
    # Agreed with 1, 0.75, half of the third, and 0.25; the majority with 0.75 of it.
    assert found["two_alternative"] == pytest.approx(0.625)
    assert found["ceiling"] == pytest.approx(0.75)
    assert found["share_of_ceiling"] == pytest.approx(0.625 / 0.75)
    assert found["majority_accuracy"] == pytest.approx(2 / 3)
    assert found["cross_entropy"] == pytest.approx(0.625)


def test_evaluation_sees_whole_pictures(task, variables):
    tile = data.coffee()[:55, :70]
    versions = [Version(f"q{q}", quality=q) for q in (90, 10)]
    source = PairSource([Pair("k", tile, *versions, 0.1, 32)])
    example = {**source[0], "image": Image.fromarray(tile)}
    for transform in task.transforms("eval"):
        example = transform.map(example)
    assert example["image"].shape == (48, 64, 3)
    found = task.evaluator(variables)(example)
    assert found["preference"] == pytest.approx(0.1)
    assert found["first"] > found["second"]  # quality 90 is nearer
    alone = task.score(variables, example["image"], example["first"])
    assert alone == pytest.approx(found["first"], rel=1e-4)


def test_predict(task, variables, tmp_path):
    paths = [str(tmp_path / f"{name}.png") for name in ("a", "b", "c", "small")]
    tile = Image.fromarray(data.coffee()[:48, :64])
    tile.save(paths[0])
    tile.save(paths[1])
    preference_tile = preference_demo.encode(np.asarray(tile), "standard", 10)
    (tmp_path / "c.png").write_bytes(preference_tile)
    tile.resize((32, 32)).save(paths[3])
    same, worse = task.predict(variables, paths[:3], tmp_path)
    assert same in (f"{paths[1]}: score 0.0000", f"{paths[1]}: score -0.0000")
    assert float(worse.rsplit(" ", 1)[1]) < 0
    with pytest.raises(ConfigError, match="scored against its reference"):
        task.predict(variables, paths[:1], tmp_path)
    with pytest.raises(DataError, match=r"32 x 32 pixels, .* 64 x 48"):
        task.predict(variables, [paths[0], paths[3]], tmp_path)
    (tmp_path / "b.png").write_bytes(b"broken")
    with pytest.raises(DataError, match="cannot read image"):
        task.predict(variables, paths[:2], tmp_path)


def test_weights_of_a_backbone_and_of_a_run(variables, task, tmp_path):
    ours = tmp_path / "ours.safetensors"
    weights.save(ours, variables)
    target = jax.eval_shape(lambda: variables)
    found = task.read_weights(str(ours), target)
    assert found["params/backbone/conv1/kernel"].shape == (3, 3, 3, 16)

    vgg = Preference(config_of(model__backbone="vgg16"))
    target = jax.eval_shape(vgg.init, jax.random.key(0), vgg.batch_spec(1))
    flat = {
        f"features.{index}.{name}": np.full(shape, index, np.float32)
        for index, (width, before) in zip(
            (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
            (
                *((64, 3), (64, 64), (128, 64), (128, 128), (256, 128)),
                *(2 * ((256, 256),)),
                *((512, 256), *(5 * ((512, 512),))),
            ),
            strict=True,
        )
        for name, shape in (("weight", (width, before, 3, 3)), ("bias", (width,)))
    }
    theirs = tmp_path / "vgg16.npz"
    np.savez(theirs, **flat)
    found = vgg.read_weights(str(theirs), target)
    assert len(found) == 26
    tail = found["params/backbone/trunk/conv5_3/kernel"]
    assert tail.shape == (3, 3, 512, 512)
    assert np.all(tail == 28)
    with pytest.raises(DataError, match=r"no weights: searched .*none\.npz"):
        vgg.read_weights(str(tmp_path / "none.npz"), target)


def test_mistakes():
    for fields, message in (
        ({"preprocess__normalization": "imagnet"}, "did you mean 'imagenet'"),
        ({"loss__reference_weight": -1.0}, "reference_weight=-1.0 must be at least 0"),
        ({"data__image_size": 40}, "image_size=40 must be a multiple of 16"),
        ({"model__name": "distanse"}, "did you mean 'distance'"),
        ({"evaluation__lpips_net": "squeeze"}, "lpips_net 'squeeze'"),
    ):
        with pytest.raises(ConfigError, match=message):
            Preference(config_of(**fields))
