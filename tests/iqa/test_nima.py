"""NIMA: scores of histograms, the task in the shared loop, weights of a backbone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.checkpoint import weights
from common.data import decode
from common.errors import ConfigError
from common.models import registry
from iqa import nima, rated_photos, raters
from iqa.config import default_config
from iqa.nima import Nima

VOTES = np.array([0, 1, 5, 17, 38, 36, 15, 6, 5, 1])


def config_of(**fields):
    config = default_config()
    config.data.source = "rated_photos"
    config.data.image_size = 32
    config.augment.resize = 0
    config.preprocess.eval_crop = "native"
    config.model.backbone = "cnniqa"
    config.model.options.hidden = 8
    config.model.options.kernels = 4
    config.model.options.dropout = 0.0
    config.model.dropout = 0.0
    for name, value in fields.items():
        with config.unlocked():
            config.update_from_flattened_dict({name.replace("__", "."): value})
    return config


@pytest.fixture(scope="module")
def task():
    return Nima(config_of())


@pytest.fixture(scope="module")
def variables(task):
    images = jnp.zeros((1, 32, 32, 3), jnp.uint8)
    return task.init(jax.random.key(0), {"image": images})


def batch(count=6):
    source = rated_photos.RatedPhotos("eval")
    examples = [source[10 * index] for index in range(count)]
    return {
        "image": jnp.array([example["image"][:32, :32] for example in examples]),
        "scores": jnp.array([example["scores"] for example in examples]),
        "id": jnp.arange(count),
    }


@pytest.mark.parametrize("array", [np.array, jnp.array])
def test_mean_and_deviation_of_votes(array):
    shares = array(VOTES / VOTES.sum())
    assert float(nima.score_mean(shares)) == pytest.approx(5.637097, abs=1e-6)
    assert float(nima.score_deviation(shares)) == pytest.approx(1.421804, abs=1e-6)
    both = array(np.stack([np.eye(10)[3], VOTES / VOTES.sum()]))
    np.testing.assert_allclose(nima.score_mean(both), [4, 5.637097], atol=1e-6)
    np.testing.assert_allclose(nima.score_deviation(both), [0, 1.421804], atol=1e-6)


def test_loss_is_the_distance_to_the_votes(task, variables):
    given = batch()
    out = task.loss(variables, given, jax.random.key(0))
    shares = task.shares(variables, given["image"])
    np.testing.assert_allclose(np.sum(shares, -1), 1, rtol=1e-5)
    expected = nima.earth_movers_distance(shares, given["scores"])
    assert out.loss.shape == (6,)
    np.testing.assert_allclose(out.loss, expected, rtol=1e-4)
    np.testing.assert_allclose(task.example_losses(variables, given), expected, 1e-5)


def test_metrics_against_the_votes(task, variables):
    given = batch()
    outputs = {k: np.asarray(v) for k, v in task.evaluate(variables, given).items()}
    shares = task.shares(variables, given["image"])
    np.testing.assert_allclose(outputs["mean"], shares @ np.arange(1, 11), rtol=1e-5)
    first = nima.earth_movers_distance(shares, given["scores"], 1)
    np.testing.assert_allclose(outputs["emd"], first, rtol=1e-5)
    perfect = outputs | {
        "mean": outputs["true_mean"],
        "deviation": outputs["true_deviation"],
    }
    metrics = task.summarize(perfect)
    for name in ("srcc", "plcc", "krcc", "srcc_deviation", "plcc_deviation"):
        assert metrics[name] == pytest.approx(1)
    assert metrics["accuracy"] == 1
    # A mean of exactly 5 is not good.
    edge = perfect | {
        "mean": np.full(6, 5.0),
        "true_mean": np.array([5, 6, 4, 5, 5.1, 1]),
    }
    assert task.summarize(edge)["accuracy"] == pytest.approx(4 / 6)


def test_predictions_of_files(task, variables, tmp_path):
    from PIL import Image

    given = batch(2)
    paths = [str(tmp_path / f"{number}.png") for number in range(2)]
    for path, image in zip(paths, given["image"], strict=True):
        Image.fromarray(np.asarray(image)).save(path)
    shares = task.shares(variables, given["image"])
    mean, spread = nima.score_mean(shares), nima.score_deviation(shares)
    lines = task.predict(variables, paths, tmp_path)
    assert lines == [
        f"{path}: {m:.2f} ± {s:.2f} of 10"
        for path, m, s in zip(paths, mean, spread, strict=True)
    ]


def made_up(network, image):
    """Variables without a program that draws them: only names and shapes count."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(network.init, jax.random.key(0), image)
    return jax.tree.map(lambda x: rng.random(x.shape).astype(x.dtype), shapes)


def test_published_weights_go_to_the_backbone(tmp_path):
    config = config_of(model__backbone="maxvit_testing", model__options={})
    config.data.image_size = 64
    task = Nima(config)
    image = jnp.zeros((1, 64, 64, 3))
    variables = made_up(task.model, image)
    classifier = registry.backbone("maxvit_testing", 5, image_size=64)
    published = made_up(classifier, image)
    weights.save(tmp_path / "published.npz", published)
    found = task.read_weights(str(tmp_path / "published.npz"), variables)
    features = registry.backbone("maxvit_testing", 0, image_size=64)
    kept = dict(variables["params"]), dict(variables["batch_stats"])
    assert all(name.split("/")[1] == "backbone" for name in found)
    name = "params/backbone/head/hidden/kernel"
    np.testing.assert_array_equal(
        found[name], published["params"]["head"]["hidden"]["kernel"]
    )
    assert not any("logits" in name for name in found)
    count = sum(
        leaf.size for tree in kept for leaf in jax.tree.leaves(tree["backbone"])
    )
    assert sum(array.size for array in found.values()) == count
    assert features.num_classes == 0
    # And our own come back as they are.
    weights.save(tmp_path / "ours.npz", variables)
    ours = task.read_weights(str(tmp_path / "ours.npz"), variables)
    assert "params/head/kernel" in ours


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model__backbone": "maxvit_tinny"}, "did you mean 'maxvit_tiny'"),
        ({"model__num_scores": 1}, "at least 2 scores"),
        ({"model__dropout": 1.0}, r"dropout in \[0, 1\)"),
        ({"loss__r": 0.5}, r"config\.loss\.r=0\.5 must be at least 1"),
        ({"model__options": {"hiden": 3}}, "unknown field of CnnIqa 'hiden'"),
        ({"model__backbones": "x"}, "unknown config.model key 'backbones'"),
        ({"augment__resize": 16}, "32 x 32 does not fit into 16 x 16"),
    ],
    ids=str,
)
def test_mistakes_in_the_config(fields, message):
    with pytest.raises(ConfigError, match=message):
        Nima(config_of(**fields))


def test_data_on_another_scale():
    task = Nima(config_of(model__num_scores=5))
    with pytest.raises(
        ConfigError, match=r"scores up to 10: set config\.model\.num_scores"
    ):
        task.source("train", None)


def test_raters_are_what_the_module_says():
    rng = np.random.default_rng(0)
    counts = raters.histogram(5.0, rng, raters=20_000)
    shares = counts / counts.sum()
    assert nima.score_mean(shares) == pytest.approx(5.0, abs=0.03)
    # bias, error and rounding
    expected = np.sqrt(raters.BIAS**2 + raters.ERROR**2 + 1 / 12)
    assert nima.score_deviation(shares) == pytest.approx(expected, rel=0.02)
    low = raters.histogram(-3.0, rng)
    assert low[0] == raters.RATERS


def test_rated_photos_get_worse_level_by_level():
    source = rated_photos.RatedPhotos("eval")
    assert len(source) == 3 * 21
    again = rated_photos.RatedPhotos("eval")
    np.testing.assert_array_equal(source[30]["image"], again[30]["image"])
    np.testing.assert_array_equal(source[30]["scores"], again[30]["scores"])
    clean = source[0]["image"].astype(float)
    assert source[0]["name"].endswith(" clean")
    for kind in range(4):
        versions = [source[1 + 5 * kind + level] for level in range(5)]
        errors = [np.mean((v["image"] - clean) ** 2) for v in versions]
        assert errors == sorted(errors)
        assert errors[0] > 0
    train = rated_photos.RatedPhotos("train")
    assert train[0]["image"].shape == (112, 112, 3)
    shown = {train[i]["name"].split("/")[0] for i in range(0, len(train), 21)}
    held_out = {source[i]["name"].split("/")[0] for i in range(0, len(source), 21)}
    assert len(shown) == 13
    assert held_out == {"astronaut", "coffee", "china"}
    assert not shown & held_out


def test_evaluation_on_larger_images_than_training():
    task = Nima(config_of(preprocess__eval_size=48))
    assert task.batch_spec(2)["image"].shape == (2, 32, 32, 3)
    assert task.inference_spec().shape == (1, 48, 48, 3)
    example = {"image": decode.decode(rated_photos.RatedPhotos("eval")[0]["image"])}
    for split, side in (("train", 32), ("eval", 48)):
        found = dict(example)
        for transform in task.transforms(split):
            rng = np.random.default_rng(0)
            random = hasattr(transform, "random_map")
            found = transform.random_map(found, rng) if random else transform.map(found)
        assert found["image"].shape == (side, side, 3)
