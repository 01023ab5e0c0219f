"""Restoring with MAXIM: the official steps, and the command that users type."""

import re

import cv2
import jax
import numpy as np
import pytest
from PIL import Image

from common.checkpoint import weights
from common.errors import ConfigError, DataError
from configs.maxim import photos
from maxim import models, predict
from maxim.tasks import Restoration
from tests.common import launching

# One level of one stage, whose sides are multiples of 4, compiles in seconds.
TINY = {
    "features": 4,
    "depth": 1,
    "num_groups": 1,
    "num_bottleneck_blocks": 1,
    "block_size_hr": 4,
    "grid_size_hr": 4,
    "block_size_lr": 2,
    "grid_size_lr": 2,
}


def create():
    return models.create("S-1", num_supervision_scales=1, **TINY)


def draw(shapes):
    """Random variables of a size that keeps activations near 1."""
    normal = np.random.default_rng(0).standard_normal

    def one(shape):
        fan_in = max(np.prod(shape.shape[:-1]), 2)
        return normal(shape.shape, np.float32) / np.float32(np.sqrt(fan_in))

    return jax.tree.map(one, shapes)


@pytest.fixture(scope="module")
def params():
    images = jax.ShapeDtypeStruct((1, 4, 4, 3), np.float32)
    return draw(jax.eval_shape(create().init, jax.random.key(0), images)["params"])


def image(height, width):
    return np.random.default_rng(0).random((height, width, 3)).astype(np.float32)


@jax.jit
def whole_network(params, images):
    return create().apply({"params": params}, images)


def official(params, picture):
    """The official script's steps, one by one, and the whole network."""
    height, width = picture.shape[:2]
    even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), "reflect")
    rows, columns = (-side % 4 // 2 for side in even.shape[:2])
    padded = np.pad(even, ((rows, rows), (columns, columns), (0, 0)), "reflect")
    outputs = whole_network(params, padded[None])
    return np.asarray(outputs[-1][-1])[0, rows:, columns:][:height, :width]


@pytest.mark.parametrize("size", [(12, 20), (9, 18)])
def test_as_the_official_script(params, size):
    result = predict.restore(create(), params, image(*size))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, official(params, image(*size)), atol=2e-6)
    assert np.abs(result - image(*size)).max() > 0.01


def test_one_pixel(params):
    assert predict.restore(create(), params, image(1, 1)).shape == (1, 1, 3)


def test_an_equal_model_is_compiled_but_once(params):
    predict.restore(create(), params, image(12, 20))
    programs = predict._compiled(create())._programs
    before = set(programs._compiled)
    assert before
    other = jax.tree.map(lambda x: x * 1.01, params)
    result = predict.restore(create(), other, image(11, 19))
    assert set(programs._compiled) == before
    np.testing.assert_allclose(result, official(other, image(11, 19)), atol=2e-6)


def test_levels_of_eight_bits_are_refused(params):
    with pytest.raises(DataError, match="divide levels of 8 bits by 255"):
        predict.restore(create(), params, image(16, 16) * 255)


def test_bfloat16_computes_in_it(params):
    variables = {"params": params}
    restorer = predict.restorer(create(), variables, bfloat16=True)
    exact = predict.restore(create(), params, image(12, 20))
    assert 1e-4 < np.abs(restorer(image(12, 20)) - exact).mean() < 0.1
    program = str(jax.make_jaxpr(restorer.apply)(variables, image(12, 20)[None]))
    convolutions = re.findall(r":(\w+)\[[\d,]*\] = conv_general_dilated", program)
    assert set(convolutions) == {"bf16"}


def test_presets_are_the_published_tasks():
    assert predict.preset("denoising") == (
        "configs/maxim/denoise.py:SIDD",
        "maxim:Denoising/SIDD",
    )
    assert predict.preset("Enhancement/LOL")[1] == "maxim:Enhancement/LOL"
    with pytest.raises(ConfigError, match="did you mean 'denoising'"):
        predict.preset("denosing")


def test_a_folder_from_the_command_line(tmp_path):
    """Of mixed sizes, kinds and depths, which share a program, and one broken."""
    smoke = photos.get_config("smoke")
    task = Restoration(smoke)
    variables = draw(jax.eval_shape(task.init, jax.random.key(0), _blank(task)))
    weights.save(tmp_path / "w.safetensors", variables)
    pictures = tmp_path / "in"
    (pictures / "sub").mkdir(parents=True)
    size = task.model.size_multiple, task.model.size_multiple - 1
    levels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(levels).save(pictures / "colour.png")
    Image.fromarray(levels[:1, :1]).save(pictures / "sub/pixel.webp")
    cv2.imwrite(str(pictures / "deep.tif"), levels[..., 0].astype(np.uint16) * 257)
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    code, out, err = launching.run(
        "--mode=predict",
        "--config=configs/maxim/photos.py:smoke",
        f"--init_from={tmp_path / 'w.safetensors'}",
        f"--input={pictures}",
        f"--output={tmp_path / 'out'}",
        module="maxim.main",
        MULTIAXIS_CACHE=str(tmp_path / "cache"),
    )
    assert code == 2, err
    last = err.splitlines()[-1]
    assert last == f"error: 1 of 4 images were not restored: {pictures}/broken.jpg"
    assert len(out.splitlines()) == 3
    assert err.count("compiled for") == 1
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("out/**/*.*")}
    with Image.open(tmp_path / "out/colour.png") as result:
        assert np.abs(np.asarray(result) - levels.astype(int)).mean() > 1
    deep = cv2.imread(str(tmp_path / "out/deep.png"), cv2.IMREAD_UNCHANGED)
    assert (deep.dtype, deep.shape) == (np.uint16, size)
    assert made == {"out/colour.png", "out/deep.png", "out/sub/pixel.png"}


def _blank(task):
    return {k: np.zeros(x.shape, x.dtype) for k, x in task.batch_spec(1).items()}
