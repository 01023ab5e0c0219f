"""Every config of the paper's table 12, cell by cell, and what its files promise."""

import importlib
import json
import math
import pathlib

import pytest

from common import config as configs
from common.errors import ConfigError
from common.train import durations, schedules
from maxvit import recipes

_GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "maxvit_table12.json"
COLUMNS = json.loads(_GOLDEN.read_text())["columns"]
CELLS = [
    (name, variant, rate)
    for name, column in COLUMNS.items()
    for variant, rate in zip(
        column["variants"], column["stochastic depth"], strict=True
    )
]


def get(name, arg):
    return importlib.import_module(f"configs.maxvit.{name}").get_config(arg)


@pytest.mark.parametrize(("name", "variant", "rate"), CELLS)
def test_every_cell_of_the_table(name, variant, rate):
    column, config = COLUMNS[name], get(name, variant)
    assert config.model.variant == variant
    assert config.model.drop_path_rate == rate
    augment, optimizer = config.augment, config.optimizer
    found = {
        "center crop": {"official": True, "squash": False}[config.preprocess.eval_crop],
        "RandAugment": [augment.randaugment_layers, augment.randaugment_magnitude],
        "mixup": augment.mixup_alpha or None,
        "loss": config.loss.name,
        "label smoothing": config.loss.label_smoothing,
        "epochs": config.total_epochs,
        "batch": config.batch_size,
        "optimizer": {"adamw": "AdamW"}[optimizer.name],
        "weight decay": optimizer.weight_decay,
        "gradient clip": optimizer.clip_norm,
        "EMA": config.ema_decay or None,
    }
    assert found == {key: column[key] for key in found}
    # Not in the table, but in the official code (no CutMix; what is not decayed).
    assert (augment.cutmix_alpha, augment.crop, augment.flip) == (
        0, "random_resized", True,
    )  # fmt: skip
    assert tuple(optimizer.no_decay) == ("bias", "scale")
    assert config.grad_accumulation == 1


@pytest.mark.parametrize("name", COLUMNS)
def test_learning_rates_of_the_table(name):
    """The schedule itself, so that no field of it is left at a wrong default."""
    column = COLUMNS[name]
    config = get(name, None)
    steps_per_epoch = column["images"] / config.batch_size
    total = durations.steps(config, "total", steps_per_epoch)
    # The specification rounds up where we round to the nearest.
    assert total == pytest.approx(column["steps"], abs=1)
    rate = schedules.make(config.schedule, total, steps_per_epoch)
    peak, final = column["peak rate"], column["min rate"]
    length, unit = column["warm-up"] or (0, "steps")
    warmup = round(length * (steps_per_epoch if unit == "epochs" else 1))
    assert float(rate(warmup)) == pytest.approx(peak)
    assert float(rate(total)) == pytest.approx(final)
    if warmup:
        assert float(rate(0)) == 0
        assert float(rate(warmup // 2)) == pytest.approx(peak / 2, rel=1e-3)
    else:
        assert float(rate(0)) == pytest.approx(peak)
    share = 0.25  # where cosine, line and constant differ
    here = float(rate(warmup + share * (total - warmup)))
    left = {
        "cosine": (1 + math.cos(math.pi * share)) / 2,
        "linear": 1 - share,
        None: 0.0,
    }[column["decay"]]
    assert here == pytest.approx(final + left * (peak - final), rel=1e-3)


@pytest.mark.parametrize("name", [n for n in COLUMNS if n.endswith("finetune")])
def test_finetuning_has_the_preprocessing_of_the_released_weights(name):
    """At 384 and 512 pixels in [-1, 1] and no crop; the classifier starts anew."""
    for size in (384, 512):
        config = get(name, f"B,image_size={size}")
        assert config.data.image_size == size
        assert config.preprocess.normalization == "half"
        assert config.preprocess.eval_crop == "squash"
        assert config.reinitialize == ("^params/head/logits/",)
        assert config.data.num_classes == 1000
    small = get(name, "B,image_size=224").preprocess
    assert small.eval_crop == "official"
    expected = "imagenet" if name == "imagenet1k_finetune" else "half"
    assert small.normalization == expected


def test_pretraining_preprocessing_and_classes():
    found = {
        name: (
            config.data.image_size,
            config.preprocess.normalization,
            config.data.num_classes,
            config.reinitialize,
        )
        for name in ("imagenet1k", "imagenet21k", "jft")
        for config in [get(name, None)]
    }
    assert found == {
        "imagenet1k": (224, "imagenet", 1000, ()),
        "imagenet21k": (224, "half", 21_843, ()),
        "jft": (224, "half", None, ()),
    }


@pytest.mark.parametrize("name", [*COLUMNS, "ablations"])
def test_a_wrong_variant_is_one_helpful_line(name):
    arg = "base,variant=XS" if name == "ablations" else "XS"
    with pytest.raises(ConfigError, match=r"unknown variant 'XS'.*choices: B, L") as e:
        get(name, arg)
    assert "\n" not in str(e.value)


def test_own_pictures_share_the_finetuning_column():
    """All of it but for the batch, the data and how often to report."""
    config = get("folder", "B,finetune,image_size=384")
    paper = get("imagenet1k_finetune", "B,image_size=384")
    lines = configs.changes(paper, config)
    assert {line.partition(":")[0] for line in lines} == {
        "batch_size",
        "data.name",
        "data.num_classes",
        "data.num_workers",
        "data.source",
        "model.drop_path_rate",  # None: the variant's, which is the same
    }
    assert config.batch_size == 64


# Row -> the layout of each stage that is not the base's C-BA-GA.
ABLATIONS = {
    "base": {},
    "no_grid_s1": {1: "C-BA"},
    "no_grid_s2": {2: "C-BA"},
    "no_grid_s3": {3: "C-BA"},
    "block_for_grid_s1": {1: "C-BA-BA"},
    "block_for_grid_s2": {2: "C-BA-BA"},
    "block_for_grid_s3": {3: "C-BA-BA"},
    "no_mbconv_s1": {1: "BA-GA"},
    "no_mbconv_s2": {2: "BA-GA"},
    "no_mbconv_s3": {3: "BA-GA"},
    "no_mbconv_s4": {4: "BA-GA"},
    "C-GA-BA": dict.fromkeys((1, 2, 3, 4), "C-GA-BA"),
    "BA-C-GA": dict.fromkeys((1, 2, 3, 4), "BA-C-GA"),
    "BA-GA-C": dict.fromkeys((1, 2, 3, 4), "BA-GA-C"),
    "GA-C-BA": dict.fromkeys((1, 2, 3, 4), "GA-C-BA"),
    "GA-BA-C": dict.fromkeys((1, 2, 3, 4), "GA-BA-C"),
    "parallel": dict.fromkeys((1, 2, 3, 4), "C-BA|GA"),
    "swin_depths": {},
}


@pytest.mark.parametrize("row", ABLATIONS)
def test_an_ablation_is_the_recipe_with_one_change(row):
    config = get("ablations", row)
    stages = config.model.block_layout.split(",")
    stages = stages * 4 if len(stages) == 1 else stages
    expected = {s: ABLATIONS[row].get(s, "C-BA-GA") for s in (1, 2, 3, 4)}
    assert dict(enumerate(stages, start=1)) == expected
    changed = {
        line.partition(":")[0]
        for line in configs.changes(recipes.imagenet1k("T"), config)
    }
    also = {"parallel": {"schedule.peak"}, "swin_depths": {"model.depths"}}
    assert changed == {"model.block_layout"} | also.get(row, set())


def test_the_rows_of_ablations_are_these():
    assert set(importlib.import_module("configs.maxvit.ablations").LAYOUTS) == set(
        ABLATIONS
    )
    with pytest.raises(ConfigError, match="did you mean 'no_grid_s1'"):
        get("ablations", "no_grid_1")


def test_values_of_the_other_ablations():
    assert get("ablations", "parallel,variant=L").schedule.peak == 1e-3
    depths = {v: get("ablations", f"swin_depths,variant={v}") for v in "TSBL"}
    assert {v: tuple(config.model.depths) for v, config in depths.items()} == {
        "T": (2, 2, 6, 2),
        "S": (2, 2, 6, 2),
        "B": (2, 2, 18, 2),
        "L": (2, 2, 18, 2),
    }
