"""Images of any size to images for another network."""

import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image

from common.data.normalization import normalize
from common.errors import ConfigError, DataError
from common.restoration import memory
from resizer import flags, models, predict
from resizer.inference import Resizer, denormalize, to_uint8, variables_of
from tests.common import launching
from tests.resizer.small import quick, run_of


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, *run_of(folder)


def photograph(height, width, channels=3, seed=0):
    shape = (height, width, channels)[: 2 + (channels > 1)]
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def predicted(trained, folder, **given):
    """Runs the mode in this process; returns the results by name."""
    home, task, _ = trained
    values = {"input": str(folder), "output": str(folder / "out"), **given}
    with flagsaver.flagsaver(**values):
        predict.run(task, task.config.copy_and_resolve_references(), str(home), None)
    return {path.name: path for path in sorted((folder / "out").iterdir())}


def expected(trained, image):
    """The model's own resize of an image that has the size of training."""
    _, task, variables = trained
    small = quick(lambda v, x: task.model.apply(v, x, method="resize"))(
        variables, normalize(image[None], "imagenet")
    )
    return np.asarray(denormalize(small, "imagenet"))[0]


def test_a_folder_of_images_of_all_kinds(trained, tmp_path, capsys):
    fitting = photograph(16, 16)
    Image.fromarray(fitting).save(tmp_path / "fitting.png")
    Image.fromarray(photograph(21, 40, 1)).save(tmp_path / "grey.png")
    Image.fromarray(photograph(5, 9, 4)).save(tmp_path / "alpha.png")
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 4 images were not resized.*broken"):
        predicted(trained, tmp_path)
    results = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in results] == ["alpha.png", "fitting.png", "grey.png"]
    images = [np.asarray(Image.open(path)) for path in results]
    assert {image.shape for image in images} == {(8, 8, 3)}
    np.testing.assert_array_equal(images[1], to_uint8(expected(trained, fitting)))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "40 x 21 to 8 x 8" in lines[2]
    assert "clipped" in lines[2]


def test_floats_that_are_not_clipped(trained, tmp_path):
    image = photograph(16, 16)
    Image.fromarray(image).save(tmp_path / "a.png")
    results = predicted(trained, tmp_path, npy=True)
    found = np.load(results["a.npy"])
    np.testing.assert_allclose(found, expected(trained, image), atol=1e-5)


def test_other_sizes(trained, tmp_path):
    Image.fromarray(photograph(12, 20)).save(tmp_path / "a.png")
    results = predicted(trained, tmp_path, size=["6", "10"], from_size="native")
    assert Image.open(results["a.png"]).size == (10, 6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": ["0"]}, "--size is a positive integer"),
        ({"size": ["8", "x"]}, "--size is a positive integer"),
        ({"size": ["100000"]}, "100000 x 100000 pixels to resize to are more"),
        ({"from_size": "nativ"}, "did you mean 'native'"),
        ({"input": ""}, "needs --input"),
        ({"input": "nowhere"}, "no such file"),
    ],
    ids=str,
)
def test_wrong_flags(trained, tmp_path, given, message):
    with pytest.raises(ConfigError, match=message):
        predicted(trained, tmp_path, **given)


def test_images_of_several_sizes_in_one_call():
    apply = Resizer(models.BilinearResizer(), {}, (4, 6), "unit")
    images = [photograph(8, 12), photograph(9, 7), photograph(8, 12, seed=1)]
    found = apply(images)
    assert [image.shape for image in found] == [(4, 6, 3)] * 3
    again = apply([images[2] / np.float32(255)])[0]
    np.testing.assert_allclose(found[2], again, atol=1e-6)
    assert 0 <= min(map(np.min, found)) <= max(map(np.max, found)) <= 1
    for wrong in (photograph(8, 8, 1), photograph(8, 8, 4), np.zeros((0, 8, 3))):
        with pytest.raises(DataError, match=r"shape \[H, W, 3\]"):
            apply([wrong])


def test_more_than_the_memory(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda device: 10)
    apply = Resizer(models.BilinearResizer(), {}, 32, "unit")
    with pytest.raises(DataError, match="40 x 30 pixels at once need") as error:
        apply([photograph(30, 40)])
    assert "tile" not in str(error.value)


def test_to_look_at():
    image = np.array([-0.5, 0.0, 0.5, 2.0], np.float32).reshape(2, 2, 1)
    assert to_uint8(image).ravel().tolist() == [0, 0, 128, 255]
    assert to_uint8(image, stretch=True).ravel().tolist() == [0, 51, 102, 255]
    assert to_uint8(np.zeros((2, 2, 1)), stretch=True).max() == 0


def test_the_resizer_is_found_in_any_model():
    inner = {"resizer": {"a": 1}, "backbone": {"b": 2}}
    assert variables_of({"params": inner}) == {"params": {"a": 1}}
    deep = {"params": {"backbone": inner, "head": {}}, "batch_stats": {"backbone": {}}}
    assert variables_of(deep) == {"params": {"a": 1}}
    assert variables_of({"params": {"backbone": {"b": 2}}}) == {}


def test_help_and_a_mistake_on_the_command_line():
    code, out, _ = launching.run("--help", module="resizer.main")
    assert code == 0
    for word in ("--mode=study", "--mode=grid", "--mode=table", "--resizers", "npy"):
        assert word in out
    assert set(flags.MODES) == {"predict", "study", "grid"}
