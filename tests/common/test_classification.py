"""The classification task: loss, metrics, and the checks of its config."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from common import classification
from common.data import mixup, transforms
from common.errors import ConfigError, DataError
from common.losses import classification as losses


class Mean(nn.Module):
    """Logits that are a linear map of the mean colour."""

    num_classes: int

    @nn.compact
    def __call__(self, images, train=False):
        return nn.Dense(self.num_classes, name="out")(images.mean((1, 2)))


class Task(classification.Classification):
    def build_model(self, num_classes):
        return Mean(num_classes)


def make(**fields):
    config = classification.default_config()
    config.data.image_size = 8
    config.data.num_classes = 4
    config.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in fields.items()}
    )
    return Task(config)


def batch(size=6, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "image": rng.integers(0, 256, (size, 8, 8, 3), np.uint8),
        "label": np.arange(size, dtype=np.int32) % 4,
        "id": np.arange(size, dtype=np.int32),
    }


@pytest.fixture(scope="module")
def variables():
    return make().init(jax.random.key(0), batch())


def reference_logits(variables, images):
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = ((images / 255.0 - mean) / std).mean((1, 2))
    out = variables["params"]["out"]
    return x @ np.array(out["kernel"]) + np.array(out["bias"])


def cross_entropy(logits, targets):
    shifted = logits - logits.max(-1, keepdims=True)
    return -(targets * (shifted - np.log(np.exp(shifted).sum(-1))[:, None])).sum(-1)


def test_loss_is_per_example_cross_entropy_with_smoothing(variables):
    data = batch()
    out = make(loss__label_smoothing=0.2).loss(variables, data, jax.random.key(1))
    targets = np.eye(4)[data["label"]] * 0.8 + 0.2 / 4
    expected = cross_entropy(reference_logits(variables, data["image"]), targets)
    assert out.loss.shape == (6,)
    np.testing.assert_allclose(out.loss, expected, rtol=2e-5)


def sigmoid_cross_entropy(logits, targets):
    """Its definition, class by class, in float64."""
    p = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    return -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).sum(-1)


def test_sigmoid_loss_against_values_by_hand():
    """log(1 + e^-2) + log(1 + e^-1), and one half for every class that is unsure."""
    logits, targets = jnp.array([[2.0, -1.0], [0.0, 0.0]]), jnp.array([[1.0, 0.0]] * 2)
    options = losses.default_options()
    loss = losses.per_example("sigmoid", logits, targets, options)
    np.testing.assert_allclose(loss, [0.126928 + 0.313262, 2 * 0.693147], rtol=1e-5)
    smooth = losses.smooth_labels(targets, 0.2, "sigmoid")
    np.testing.assert_allclose(smooth, [[0.9, 0.1]] * 2, rtol=1e-6)
    np.testing.assert_array_equal(
        losses.smooth_labels(targets, 0.0, "sigmoid"), targets
    )
    huge = losses.per_example("sigmoid", jnp.array([[90.0, -90.0]]), targets, options)
    np.testing.assert_allclose(huge, 0, atol=1e-6)


def test_every_loss_has_a_name(variables):
    """On one-hot targets, by the formulas of the papers, from the probabilities."""
    data = batch()
    logits = reference_logits(variables, data["image"])
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    right = p[np.arange(6), data["label"]]
    expected = {
        "softmax": -np.log(right),
        "gce": (1 - right**0.7) / 0.7,
        "sce": 0.1 * -np.log(right) + 4 * (1 - right),
        "mae": 2 * (1 - right),
    }
    for name, values in expected.items():
        found = make(loss__name=name).loss(variables, data, jax.random.key(0)).loss
        np.testing.assert_allclose(found, values, rtol=1e-4, err_msg=name)
    for name in losses.NAMES:
        found = make(loss__name=name).loss(variables, data, jax.random.key(0)).loss
        assert found.shape == (6,)
        assert np.isfinite(found).all()
    with pytest.raises(ValueError, match="no loss 'hinge'"):
        losses.per_example("hinge", logits, logits, losses.default_options())


def test_a_loss_of_its_own_moves_the_weights(variables):
    data, key = batch(), jax.random.key(1)
    task = make(loss__label_smoothing=0.2, reweighting__loss="mae")
    out = task.loss(variables, data, key)
    plain = make(loss__name="mae").loss(variables, data, key).loss
    np.testing.assert_allclose(out.weight_loss, plain, rtol=1e-6)
    passed = task.example_losses(variables, data)
    np.testing.assert_allclose(passed, plain, rtol=1e-6)
    own = make(loss__label_smoothing=0.2)
    assert own.loss(variables, data, key).weight_loss is None
    clean = make().loss(variables, data, key).loss
    np.testing.assert_allclose(own.example_losses(variables, data), clean, rtol=1e-6)


def test_mixed_images_have_no_loss_of_one_example():
    fields = {"augment__mixup_alpha": 0.2, "reweighting__mode": "deferred"}
    with pytest.raises(ConfigError, match="mode=deferred needs: use mode=full"):
        make(**fields)
    make(**fields | {"reweighting__mode": "full"})


def test_sigmoid_training_loss_with_smoothing_and_mixup(variables):
    data, key = batch(), jax.random.key(3)
    task = make(
        loss__name="sigmoid", loss__label_smoothing=0.2, augment__mixup_alpha=0.8
    )
    targets = np.eye(4, dtype=np.float32)[data["label"]] * 0.8 + 0.1
    # The mean colour is linear, so mixing the images mixes their logits.
    logits = reference_logits(variables, data["image"]).astype(np.float32)
    mixed, targets = mixup.mixup(
        jax.random.split(key)[0], logits[:, None, None], jnp.array(targets), 0.8
    )
    out = task.loss(variables, data, key)
    assert out.loss.shape == (6,)
    np.testing.assert_allclose(
        out.loss, sigmoid_cross_entropy(mixed[:, 0, 0], targets), rtol=2e-5
    )
    plain = make(loss__name="sigmoid").loss(variables, data, key).loss
    expected = sigmoid_cross_entropy(logits, np.eye(4)[data["label"]])
    np.testing.assert_allclose(plain, expected, rtol=2e-5)


def test_mixup_and_cutmix_change_the_loss_and_follow_the_key(variables):
    plain = make().loss(variables, batch(), jax.random.key(1)).loss
    for fields in ({"augment__mixup_alpha": 0.8}, {"augment__cutmix_alpha": 1.0}):
        task = make(**fields)
        mixed = [task.loss(variables, batch(), jax.random.key(k)).loss for k in (1, 2)]
        again = task.loss(variables, batch(), jax.random.key(1)).loss
        np.testing.assert_array_equal(mixed[0], again)
        assert not np.allclose(mixed[0], plain)
        assert not np.allclose(mixed[0], mixed[1])


def test_evaluation_outputs_against_numpy(variables):
    data = batch(40)
    outputs = jax.device_get(make().evaluate(variables, data))
    logits = reference_logits(variables, data["image"])
    np.testing.assert_array_equal(outputs["prediction"], logits.argmax(-1))
    order = (-logits).argsort(-1)
    ranks = [
        list(row).index(label) for row, label in zip(order, data["label"], strict=True)
    ]
    np.testing.assert_array_equal(outputs["rank"], ranks)
    np.testing.assert_allclose(
        outputs["loss"], cross_entropy(logits, np.eye(4)[data["label"]]), rtol=2e-4
    )


def test_sigmoid_evaluation_has_its_loss_and_confidence(variables):
    data = batch()
    task = make(loss__name="sigmoid", loss__label_smoothing=0.3)
    outputs = jax.device_get(task.evaluate(variables, data))
    logits = reference_logits(variables, data["image"])
    expected = sigmoid_cross_entropy(logits, np.eye(4)[data["label"]])
    np.testing.assert_allclose(outputs["loss"], expected, rtol=2e-5)  # not smoothed
    confidence = 1 / (1 + np.exp(-logits.max(-1)))
    np.testing.assert_allclose(outputs["confidence"], confidence, rtol=2e-5)
    softmax = jax.device_get(make().evaluate(variables, data))
    for name in ("prediction", "rank", "label"):
        np.testing.assert_array_equal(outputs[name], softmax[name])


def test_summary_counts_ranks():
    task = make(data__num_classes=10)
    metrics = task.summarize(
        {"loss": np.array([1.0, 3.0, 2.0, 2.0]), "rank": np.array([0, 4, 5, 0])}
    )
    assert metrics == {"loss": 2.0, "top1": 0.5, "top5": 0.75}
    assert "top5" not in make().summarize({"loss": np.ones(1), "rank": np.zeros(1)})


def test_constant_logits_score_nothing(variables):
    """A model that collapsed must not look right on the first class."""
    constant = jax.tree.map(jnp.zeros_like, variables)
    assert make().summarize(jax.device_get(make().evaluate(constant, batch()))) == {
        "loss": pytest.approx(np.log(4)),
        "top1": 0.0,
    }


def test_pictures_with_more_outputs_than_named_classes(tmp_path):
    """1000 outputs on ten classes: a prediction may have no name."""
    task = make(data__num_classes=12, data__source="bundled", data__name="digits")
    source = task.source("eval", None)
    ids = np.arange(len(source))
    outputs = {
        "id": ids,
        "label": np.array([source[i]["label"] for i in ids]),
        "prediction": np.full(len(ids), 11),
        "confidence": np.full(len(ids), 0.5),
    }
    pictures = task.pictures({}, outputs, source, tmp_path)
    assert all(path.exists() for _, path in pictures)
    assert "360 errors in 360" in pictures[0][0]
    assert len(list((tmp_path / "examples").glob("*.png"))) == 8


def test_number_of_classes_comes_from_the_data():
    task = make(data__num_classes=None, data__source="bundled", data__name="digits")
    with pytest.raises(ConfigError, match="num_classes is needed"):
        task.build_model(task.num_classes)
    assert len(task.source("train", None)) == 1437
    assert task.num_classes == 10
    task = make(data__num_classes=4, data__source="bundled", data__name="digits")
    with pytest.raises(ConfigError, match=r"10 classes, config.data.num_classes is 4"):
        task.source("train", None)


def test_data_that_does_not_name_its_classes_needs_their_number(monkeypatch):
    class Nameless:
        class_names = ()

        def __len__(self):
            return 1

    monkeypatch.setattr(classification.sources, "open_source", lambda *_: Nameless())
    with pytest.raises(ConfigError, match="does not name its classes"):
        make(data__num_classes=None).source("train", None)
    task = make(data__num_classes=7)
    assert len(task.source("train", None)) == 1
    assert task.num_classes == 7


def test_images_that_are_not_square(variables):
    task = make(data__image_size=(8, 16))
    spec = task.batch_spec(2)
    assert spec["image"].shape == (2, 8, 16, 3)
    image = Image.new("RGB", (50, 40))
    for chain in (task.transforms("train"), task.transforms("eval")):
        example = {"image": image}
        for transform in chain:
            random = hasattr(transform, "random_map")
            example = (
                transform.random_map(example, np.random.default_rng(0))
                if random
                else transform.map(example)
            )
        assert example["image"].shape == (8, 16, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"augment__crop": "random_resize"}, "did you mean 'random_resized'"),
        ({"preprocess__normalization": "imagnet"}, "did you mean 'imagenet'"),
        ({"preprocess__eval_crop": "centre"}, "'squash', 'native' or a fraction"),
        ({"preprocess__eval_crop": "1.5"}, "a fraction in"),
        ({"loss__label_smoothing": 1.0}, r"must be in \[0, 1\)"),
        ({"loss__name": "sigmoids"}, "config.loss.name .*; did you mean 'sigmoid'"),
        ({"data__image_size": 0}, "a size is a positive integer"),
        ({"augment__flipp": True}, "unknown config.augment key 'flipp'"),
        ({"augment__mixup_alpha": -0.1}, "mixup_alpha=-0.1 must be at least 0"),
    ],
    ids=str,
)
def test_mistakes_in_the_config(fields, message):
    with pytest.raises(ConfigError, match=message):
        make(**fields)


def test_recipe_becomes_transforms():
    names = [type(t).__name__ for t in make().transforms("train")]
    assert names == ["RandomResizedCrop", "RandomFlip", "ToArray"]
    task = make(
        augment__crop="none",
        augment__flip=False,
        augment__rotate=10.0,
        augment__scale=0.1,
        augment__randaugment_layers=2,
        preprocess__eval_crop="0.875",
    )
    chain = task.transforms("train")
    assert [type(t).__name__ for t in chain] == [
        "Resize", "RandomAffine", "RandAugment", "ToArray",
    ]  # fmt: skip
    assert chain[1].scale == (0.9, 1.1)
    assert task.transforms("eval")[0] == transforms.CenterCrop(8, 0.875)


def test_predict_lines(variables, tmp_path):
    (tmp_path / "class_names.json").write_text('["ant", "bee", "cat", "dog"]')
    image = batch(1)["image"][0]
    Image.fromarray(image).save(tmp_path / "x.png")
    task = make(preprocess__eval_crop="squash")
    (line,) = task.predict(variables, [str(tmp_path / "x.png")], tmp_path)
    logits = reference_logits(variables, image[None])[0]
    best = ["ant", "bee", "cat", "dog"][logits.argmax()]
    share = 100 * np.exp(logits.max()) / np.exp(logits).sum()
    assert line.startswith(f"{tmp_path / 'x.png'}: {best} {share:.1f} %, ")
    with pytest.raises(DataError, match=r"missing\.png"):
        task.predict(variables, [str(tmp_path / "missing.png")], tmp_path)
    sigmoid = make(preprocess__eval_crop="squash", loss__name="sigmoid")
    (line,) = sigmoid.predict(variables, [str(tmp_path / "x.png")], tmp_path)
    share = 100 / (1 + np.exp(-logits.max()))
    assert line.startswith(f"{tmp_path / 'x.png'}: {best} {share:.1f} %, ")


def test_predict_names_each_kind_of_broken_image(variables, tmp_path):
    """One line that names the file, before the model runs on any other."""
    good = tmp_path / "good.png"
    Image.fromarray(batch(1)["image"][0]).save(good)
    content = {
        "truncated.png": good.read_bytes()[: good.stat().st_size // 2],
        "empty.jpg": b"",
        "text.jpg": b"this is no image",
        # A GIF that says it is 0 x 0 pixels large.
        "zero.gif": b"GIF89a" + bytes(7) + b"," + bytes(9) + b"\x02\x00\x00;",
    }
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError) as error:
            make().predict(variables, [str(good), str(tmp_path / name)], tmp_path)
        assert str(error.value).startswith(f"cannot read image {tmp_path / name}: ")
        assert "\n" not in str(error.value)
