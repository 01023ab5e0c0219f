"""Config arguments, validation, and the record of a run."""

import ml_collections
import pytest
from ml_collections import config_dict

from common import config as configs
from common.errors import ConfigError

TASKS = ("toy",)


def valid(**fields):
    config = configs.default()
    config.task = "toy"
    config.total_steps = 10
    config.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in fields.items()}
    )
    return config


def test_arguments_take_the_type_of_their_default():
    args = configs.parse_arg(
        "B,size=384,rate=1,smoke", variant="T", size=224, rate=0.5, smoke=False
    )
    assert args.to_dict() == {"variant": "B", "size": 384, "rate": 1.0, "smoke": True}
    assert configs.parse_arg(None, variant="T").variant == "T"
    assert configs.parse_arg("smoke=False", smoke=True).smoke is False


@pytest.mark.parametrize(
    ("arg", "message"),
    [
        ("sized=3", "unknown config argument 'sized'; did you mean 'size'"),
        ("size=big", "size='big': expected int"),
        ("size=1.5", "size='1.5': expected int"),
        ("smoke=2", "smoke='2': expected bool"),
    ],
)
def test_bad_arguments(arg, message):
    with pytest.raises(ConfigError, match=message):
        configs.parse_arg(arg, variant="T", size=224, smoke=False)


def test_default_config_is_valid():
    configs.validate(valid(), TASKS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "toyy"}, "unknown task 'toyy'; did you mean 'toy'"),
        ({"batch_size": 0}, "batch_size=0 must be greater than 0"),
        ({"schedule__peak": float("nan")}, "schedule.peak=nan must be"),
        ({"ema_decay": 1.0}, r"ema_decay=1.0 must be in \[0, 1\)"),
        ({"data__num_workers": -1}, "num_workers=-1 must be at least 0"),
        ({"optimizer__name": "adamww"}, "did you mean 'adamw'"),
        ({"schedule__name": "cosin"}, "did you mean 'cosine'"),
        ({"dtype": "float16"}, "unknown config.dtype 'float16'"),
        ({"total_steps": None}, "one of config.total_steps and"),
        ({"total_epochs": 3.0}, "total_steps and config.total_epochs exclude"),
        ({"grad_accumulation": 3}, "batch_size=128 is not divisible by"),
        ({"data__image_size": "abc"}, r"^config.data.image_size is .* given 'abc'$"),
        ({"data__image_size": (1, 2, 3)}, r"given \(1, 2, 3\)$"),
    ],
    ids=str,
)
def test_each_mistake_is_one_helpful_line(fields, message):
    with pytest.raises(ConfigError, match=message) as error:
        configs.validate(valid(**fields), TASKS)
    assert "\n" not in str(error.value)


def test_fields_that_nothing_reads_are_refused():
    config = valid()
    config.optimizer.weight_decy = 0.1
    with pytest.raises(ConfigError, match=r"did you mean --config.optimizer.weight_d"):
        configs.validate(config, TASKS)
    config = valid()
    config.bach_size = 3
    with pytest.raises(ConfigError, match=r"did you mean --config.batch_size\?"):
        configs.validate(config, TASKS)


def test_saved_config_comes_back_equal(tmp_path):
    config = valid(optimizer__no_decay=("bias", "scale"))
    config.optimizer.lr_multipliers = (("^head/", 10.0),)
    config.model.depths = (2, 2)
    config.model.window_size = config_dict.placeholder(int)
    configs.save(config, tmp_path, {"batch_size": 128})
    loaded = configs.load(tmp_path)
    assert configs.flat(loaded) == configs.flat(config)
    assert configs.changes(config, loaded) == []
    configs.validate(loaded, TASKS)
    assert (tmp_path / "overrides.json").read_text() == '{\n  "batch_size": 128\n}\n'
    assert '"jax"' in (tmp_path / "versions.json").read_text()


@pytest.mark.parametrize("size", [384, (224, 448), [224, 448]])
def test_image_size_is_a_number_or_a_pair_and_comes_back(size, tmp_path):
    config = valid(data__image_size=size).lock()
    configs.validate(config, TASKS)
    configs.save(config, tmp_path, {})
    loaded = configs.load(tmp_path)
    assert configs.changes(config, loaded) == []
    configs.validate(loaded, TASKS)
    expected = size if isinstance(size, int) else tuple(size)
    assert loaded.data.image_size == expected
    loaded.data.image_size = (1, 2) if isinstance(size, int) else 384
    assert len(configs.changes(config, loaded)) == 1


def test_changes_are_named(tmp_path):
    other = valid(batch_size=64)
    assert configs.changes(valid(), other) == ["batch_size: 128 -> 64"]


def test_no_or_broken_saved_config(tmp_path):
    assert configs.load(tmp_path) is None
    (tmp_path / "config.json").write_text('{"batch_size": "many"}')
    with pytest.raises(ConfigError, match="is not a saved config"):
        configs.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="is not a saved config"):
        configs.load(tmp_path)


def test_unknown_key_finds_the_same_leaf_elsewhere():
    config = ml_collections.ConfigDict({"data": {"image_size": 224}, "seed": 0})
    line = configs.unknown_key("model.image_size", config)
    assert "did you mean --config.data.image_size?" in line


def test_shrink_makes_every_config_short():
    config = valid(schedule__warmup_epochs=5.0, eval_every_epochs=2.0)
    configs.shrink(config)
    configs.validate(config, TASKS)
    assert config.total_steps == 2
    assert config.schedule.warmup_epochs is None
