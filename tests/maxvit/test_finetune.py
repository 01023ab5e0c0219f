"""Fine-tuning published weights on a folder of images, as a user would do it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from safetensors import numpy as safetensors

from maxvit import convert, models
from tests.common import launching

CLASSES = ("cat", "dog", "emu")
ONE_STAGE = ("--config.model.depths=(1,)", "--config.model.channels=(16,)")


def maxvit(*args):
    return launching.run(*args, module="maxvit.main")


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A repository as timm's are: a tiny MaxViT of seven classes, for 32 pixels."""
    model = models.create("testing", 7, 32, depths=(1,), channels=(16,))
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: rng.uniform(0.1, 0.3, leaf.shape).astype(np.float32), shapes
    )
    folder = tmp_path_factory.mktemp("maxvit_tiny_tf_384.mine")
    safetensors.save_file(convert.to_timm(variables), folder / "model.safetensors")
    expects = {"mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 1.0}
    content = {"pretrained_cfg": expects | {"crop_mode": "squash"}}
    (folder / "config.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pets")
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir()
        for index in range(12):
            image = Image.effect_noise((40, 48), 20 + 30 * number)
            image.save(folder / name / f"{index}.png")
    return folder


def test_finetune_then_predict(release, pets, tmp_path):
    code, out, err = maxvit(
        "--config=configs/maxvit/folder.py:T,finetune,smoke",
        *ONE_STAGE,
        f"--data_dir={pets}",
        f"--workdir={tmp_path}",
        f"--init_from=timm:{release}",
        "--config.batch_size=8",
        "--config.eval_batch_size=8",
    )
    assert code == 0, err
    assert "top1" in out
    for line in (
        # Windows of 32 / 4 and 64 / 4 tokens.
        f"timm:{release}: 2 tables resized 15x15 -> 31x31",
        "replaced params/head/logits/kernel: file float32[16,7], model float32[16,3]",
        "replaced params/head/logits/bias: file float32[7], model float32[3]",
        f"preprocess.normalization: imagenet -> half, as timm:{release} expects",
        f"preprocess.eval_crop: official -> squash, as timm:{release} expects",
    ):
        assert line in err, err
    saved = json.loads((tmp_path / "config.json").read_text())
    expected = {"normalization": "half", "eval_crop": "squash", "eval_size": None}
    assert saved["preprocess"] == expected

    image = pets / "dog" / "0.png"
    code, out, err = maxvit(
        "--mode=predict", f"--workdir={tmp_path}", f"--image={image}"
    )
    assert code == 0, err
    assert out.startswith(f"{image}: ")
    assert {part.split()[0] for part in out.split(": ")[1].split(", ")} == set(CLASSES)


def test_released_weights_predict_without_a_run(release, pets, tmp_path):
    """The classes of the weights, and the preprocessing they expect."""
    image = pets / "dog" / "0.png"
    (tmp_path / "class_names.json").write_text('["of", "another", "run"]')
    code, out, err = maxvit(
        "--config=configs/maxvit/folder.py:T,smoke",
        *ONE_STAGE,
        "--mode=predict",
        f"--workdir={tmp_path}",
        f"--init_from={release}",
        "--config.data.num_classes=7",
        "--config.data.image_size=32",
        "--config.preprocess.eval_crop=0.875",
        f"--image={image}",
    )
    assert code == 0, err
    assert out.startswith(f"{image}: ")
    named = {part.split()[0] for part in out.split(": ")[1].split(", ")}
    assert named < set("0123456")
    assert "normalization: imagenet -> half" in err
    assert "preprocess.eval_crop" not in err
    assert "resized" not in err
