import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import export
from common.errors import ConfigError, DataError
from tests.common import toy

IMAGES = jax.ShapeDtypeStruct((1, 4, 6, 3), jnp.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "f.jaxexport"
    weights = np.arange(72, dtype=np.float32).reshape(72, 1)
    export.write(
        path, lambda x: x.reshape(x.shape[0], -1).astype(float) @ weights, IMAGES
    )
    return path


@pytest.mark.parametrize("batch", [1, 5])
def test_any_batch_size(path, batch):
    images = np.random.default_rng(0).integers(0, 256, (batch, 4, 6, 3), np.uint8)
    expected = images.reshape(batch, -1) @ np.arange(72.0)
    np.testing.assert_allclose(export.read(path).call(images)[:, 0], expected)


def test_every_platform(path):
    assert export.read(path).platforms == export.PLATFORMS


def test_another_image_size_is_refused(path):
    with pytest.raises(ValueError, match="4"):
        export.read(path).call(np.zeros((1, 8, 6, 3), np.uint8))


def test_broken_files(path, tmp_path):
    with pytest.raises(DataError, match="no exported function"):
        export.read(tmp_path / "missing")
    broken = tmp_path / "broken"
    broken.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="is no exported function"):
        export.read(broken)


def test_a_task_without_such_a_function():
    task = toy.Toy(toy.get_config())
    with pytest.raises(ConfigError, match="Toy has no function to export"):
        task.inference({})
