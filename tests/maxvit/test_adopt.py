"""Preprocessing follows the weights a run starts from; other variants are refused."""

import json
import logging

import numpy as np
import pytest

from common.errors import ConfigError, DataError
from maxvit import config as configs
from maxvit import convert, tasks
from maxvit.convert import hub
from maxvit.convert.published import PUBLISHED
from tests.maxvit import timm_hash


def task(image_size=224, **model):
    config = configs.default_config()
    config.data.image_size = image_size
    config.data.num_classes = 10
    config.model.update(model)
    return tasks.Classification(config)


def preprocess(task):
    return task.config.preprocess.normalization, task.config.preprocess.eval_crop


@pytest.fixture(autouse=True)
def _no_download(monkeypatch):
    """The name alone tells; nothing is fetched before the run needs it."""
    monkeypatch.setattr(hub, "fetch", lambda *args: pytest.fail("fetched"))


def test_the_table_is_what_is_published():
    assert len(PUBLISHED) == 21
    for name, weight in PUBLISHED.items():
        assert name.startswith(f"maxvit_{weight.variant}_tf_{weight.resolution}.in")
        assert weight.num_classes == (21_843 if name.endswith(".in21k") else 1000)
    assert not any("xlarge" in name and name.endswith(".in1k") for name in PUBLISHED)


# As the config.json files of timm's repositories have it.
@pytest.mark.parametrize(
    ("name", "variant", "expected"),
    [
        ("maxvit_tiny_tf_224.in1k", "T", ("imagenet", "0.95")),
        ("maxvit_tiny_tf_384.in1k", "tiny", ("half", "squash")),
        ("maxvit_base_tf_512.in1k", "base", ("half", "squash")),
        ("maxvit_xlarge_tf_224.in21k", "XL", ("half", "0.95")),
        ("maxvit_base_tf_512.in21k_ft_in1k", "B", ("half", "squash")),
        ("maxvit_large_tf_384.in21k_ft_in1k", "L", ("half", "squash")),
    ],
)
def test_a_published_name_sets_the_preprocessing(name, variant, expected, caplog):
    adapted = task(PUBLISHED[name].resolution, variant=variant)
    assert preprocess(adapted) == ("imagenet", "official")
    with caplog.at_level(logging.INFO, "absl"):
        adapted.adopt(f"timm:{name}", ())
    assert preprocess(adapted) == expected
    changed = f"preprocess.eval_crop: official -> {expected[1]}, as timm:{name} expects"
    assert changed in caplog.text
    changed = f"preprocess.normalization: imagenet -> half, as timm:{name} expects"
    assert (changed in caplog.text) == (expected[0] == "half")
    # On resume the same again, and nothing to tell.
    caplog.clear()
    adapted.adopt(f"timm:{name}", ())
    assert preprocess(adapted) == expected
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (224, ("imagenet", "0.95")),
        (384, ("half", "squash")),
        ((224, 448), ("half", "squash")),
    ],
)
def test_training_at_another_size_keeps_its_recipe(size, expected):
    adapted = task(size)
    adapted.config.preprocess.normalization = "half"
    adapted.config.preprocess.eval_crop = "squash"
    adapted.adopt("timm:maxvit_tiny_tf_224.in1k", (), training=True)
    assert preprocess(adapted) == expected
    # What is evaluated or run as it is gets what it expects, at any size.
    adapted.adopt("timm:maxvit_tiny_tf_224.in1k", ())
    assert preprocess(adapted) == ("imagenet", "0.95")


@pytest.mark.parametrize(
    ("size", "training", "warned"),
    [(224, False, True), (384, False, False), (224, True, False)],
)
def test_another_size_than_the_weights_saw_is_told(size, training, warned, caplog):
    name = "timm:maxvit_tiny_tf_384.in1k"
    task(size).adopt(name, (), training)
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    told = f"{name} saw images of 384 pixels and runs at 224 x 224; set --config.data."
    assert warnings == ([f"{told}image_size=384"] if warned else [])


def test_training_asks_the_config_file_for_the_size(release):
    for side, expected in ((384, "imagenet"), (224, "half")):
        adapted = task()
        folder = str(release(mean=[0.5] * 3, std=[0.5] * 3, input_size=[3, side, side]))
        adapted.adopt(folder, (), training=True)
        assert adapted.config.preprocess.normalization == expected


@pytest.mark.parametrize("field", ["normalization", "eval_crop"])
def test_what_the_user_set_stays(field):
    adapted = task(variant="base")
    adapted.adopt("timm:maxvit_base_tf_512.in1k", {f"preprocess.{field}", "seed"})
    assert preprocess(adapted) == (
        "imagenet" if field == "normalization" else "half",
        "official" if field == "eval_crop" else "squash",
    )


def test_a_published_weight_of_another_variant_is_refused_before_the_download():
    with pytest.raises(ConfigError) as caught:
        task(variant="S").adopt("timm:maxvit_base_tf_512.in1k", ())
    message = str(caught.value)
    assert (
        "timm:maxvit_base_tf_512.in1k is of a MaxViT 'base' (stem_width 64" in message
    )
    assert "config.model is 'small' (" in message
    assert message.endswith("set --config.model.variant=base")
    with pytest.raises(ConfigError, match=r"is 'tiny'.*variant=xlarge"):
        task().adopt("timm:maxvit_xlarge_tf_224.in21k", ())
    with pytest.raises(ConfigError, match=r"did you mean 'maxvit_tiny_tf_224\.in1k'"):
        task().adopt("timm:maxvit_tiny_tf_224.in2k", ())


@pytest.fixture
def release(tmp_path):
    """Writes a folder as timm's repositories are; its content is not looked at."""

    def write(architecture="maxvit_tiny_tf_384", **fields):
        (tmp_path / "model.safetensors").write_bytes(b"")
        content = {"architecture": architecture, "pretrained_cfg": fields}
        (tmp_path / "config.json").write_text(json.dumps(content))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {
                "mean": [0.5] * 3,
                "std": [0.5] * 3,
                "crop_pct": 1.0,
                "crop_mode": "squash",
            },
            ("half", "squash"),
        ),
        (
            {
                "mean": [0.485, 0.456, 0.406],
                "std": [0.229, 0.224, 0.225],
                "crop_pct": 0.95,
                "crop_mode": "center",
            },
            ("imagenet", "0.95"),
        ),
        ({"mean": [0, 0, 0], "std": [1, 1, 1]}, ("unit", "official")),
        ({"crop_pct": 0.9}, ("imagenet", "0.9")),
        ({}, ("imagenet", "official")),
    ],
)
@pytest.mark.parametrize("form", ["{}", "timm:{}", "{}/model.safetensors"])
def test_a_config_file_beside_the_weights_sets_it(release, fields, expected, form):
    adapted = task()
    adapted.adopt(form.format(release(**fields)), ())
    assert preprocess(adapted) == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"mean": [0.1] * 3, "std": [0.5] * 3},
            r"config\.json: mean \[0\.1.*imagenet, .*--config\.preprocess\.no",
        ),
        ({"mean": [0.5], "std": [0.5]}, "of no known normalization"),
        ({"mean": 0.5, "std": 0.5}, r"set --config\.preprocess\.normalization"),
        ({"mean": ["x"] * 3, "std": [1] * 3}, "could not convert"),
        (
            {"crop_pct": 0.9, "crop_mode": "border"},
            r"crop_mode 'border' .*preprocess\.eval_crop",
        ),
        ({"crop_pct": 0.9, "crop_mode": "squash"}, "with crop_pct 0.9 is not possible"),
        ({"crop_pct": 7}, "'center' with crop_pct 7.0 is not possible"),
    ],
)
def test_what_we_cannot_do_is_refused_unless_set_by_hand(release, fields, message):
    folder = str(release(**fields))
    with pytest.raises(ConfigError, match=message) as caught:
        task().adopt(folder, ())
    assert "\n" not in str(caught.value)
    task().adopt(folder, ("preprocess.normalization", "preprocess.eval_crop"))


def test_the_config_file_tells_the_variant(release):
    with pytest.raises(ConfigError, match=r"is of a MaxViT 'base'.*variant=base"):
        task().adopt(str(release("maxvit_base_tf_384")), ())
    # Others are judged by their shapes, when they are read.
    task().adopt(str(release("maxvit_rmlp_tiny_rw_256")), ())


def test_a_changed_variant_is_told_what_differs():
    """It is no pure variant, so naming one changes nothing."""
    swin = task(variant="T", depths=(2, 2, 6, 2))
    with pytest.raises(ConfigError) as caught:
        swin.adopt("timm:maxvit_tiny_tf_224.in1k", ())
    assert str(caught.value).endswith("; set --config.model.depths=(2,2,5,2)")


def test_a_file_that_bears_a_published_name(tmp_path):
    path = tmp_path / "maxvit_tiny_tf_512.in1k.safetensors"
    path.write_bytes(b"")
    adapted = task()
    adapted.adopt(str(path), ())
    assert preprocess(adapted) == ("half", "squash")


def test_where_nothing_tells_the_config_stays(release, tmp_path, caplog):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"")
    # A run's own config.json is another one.
    (tmp_path / "config.json").write_text('{"task": "classification"}')
    for source in (path, tmp_path):
        adapted = task()
        with caplog.at_level(logging.INFO, "absl"):
            adapted.adopt(str(source), ())
        assert preprocess(adapted) == ("imagenet", "official")
        assert "eval_crop official, eval_size None, normalization" in caplog.text


def test_broken_or_missing_sources_are_named(release, tmp_path):
    with pytest.raises(DataError, match=r"/no/w\.npz"):
        task().adopt("/no/w.npz", ())
    (release() / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json is not readable JSON") as caught:
        task().adopt(str(tmp_path), ())
    assert "\n" not in str(caught.value)


NARROW = {
    "variant": "testing",
    "depths": (1, 1),
    "channels": (8, 16),
    "head_dim": 4,
    "window_size": 7,
}


@pytest.fixture
def narrow(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, **timm_hash.narrow_state_dict())
    return str(path)


def target(task):
    import jax

    return jax.eval_shape(task.init, jax.random.key(0), task.batch_spec(1))


def test_tables_are_resized_to_the_windows_of_the_run(narrow, caplog):
    fitting = task(56, **NARROW)
    exact = fitting.read_weights(narrow, target(fitting))
    converted = convert.from_timm(timm_hash.narrow_state_dict())["params"]
    table = converted["stage2"]["block0"]["grid_attention"]["attention"]
    name = "params/stage2/block0/grid_attention/attention/relative_bias"
    np.testing.assert_array_equal(exact[name], table["relative_bias"], strict=True)

    larger = task(96, **NARROW | {"window_size": 12})
    with caplog.at_level(logging.INFO, "absl"):
        resized = larger.read_weights(narrow, target(larger))
    assert "4 tables resized 13x13 -> 23x23" in caplog.text
    assert resized[name].shape == (4, 23, 23)
    for other in exact:
        if not other.endswith("relative_bias"):
            np.testing.assert_array_equal(resized[other], exact[other])


@pytest.mark.parametrize(
    ("change", "flags"),
    [
        ({"depths": (1, 2)}, r"--config\.model\.depths=\(1,1\)$"),
        (
            {"channels": (8, 24), "stem_width": 16},
            r"--config\.model\.stem_width=8 --config\.model\.channels=\(8,16\)$",
        ),
    ],
)
def test_weights_of_other_sizes_are_refused_with_the_flags(narrow, change, flags):
    other = task(56, **NARROW | change)
    with pytest.raises(ConfigError, match=flags):
        other.read_weights(narrow, target(other))
