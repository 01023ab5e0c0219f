import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import export, modes
from common.checkpoint import weights
from common.errors import ConfigError
from maxvit import convert, inference, models
from maxvit.tasks import Classification
from tests.maxvit import timm_hash
from tests.maxvit.small import filled, shapes
from tests.test_configs import load


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(jax.random.key(1), (2, 64, 64, 3))


def test_a_folded_model_gives_the_same(model, variables, images):
    folded, fewer = inference.fold(model, variables)
    assert set(fewer) == {"params"}
    assert jax.tree.map(np.shape, fewer) == jax.tree.map(
        lambda leaf: leaf.shape, shapes(folded, 64)
    )

    def maps_and_logits(model, images):
        maps = model.features(images)
        return maps, model.head(maps["stage4"])

    def run(model, variables):
        apply = jax.jit(lambda v, x: model.apply(v, x, method=maps_and_logits))
        return apply(variables, images)

    (maps, logits), (folded_maps, folded_logits) = (
        run(model, variables),
        run(folded, fewer),
    )
    for name, features in maps.items():
        scale = jnp.abs(features).max()
        np.testing.assert_allclose(
            folded_maps[name], features, atol=1e-5 * scale, err_msg=name
        )
    np.testing.assert_allclose(folded_logits, logits, atol=1e-5)


def test_every_batch_norm_counts(model, variables, images):
    """The statistics are really used: with others the folded weights differ."""
    _, fewer = inference.fold(model, variables)
    stats, treedef = jax.tree.flatten(variables["batch_stats"])
    for number in range(len(stats)):
        changed = list(stats)
        changed[number] = changed[number] + 0.1
        changed = {**variables, "batch_stats": treedef.unflatten(changed)}
        _, other = inference.fold(model, changed)
        same = jax.tree.map(np.array_equal, fewer, other)
        assert not all(jax.tree.leaves(same))


def test_the_golden_logits_survive_folding():
    golden = timm_hash.GOLDEN["runs"][0]
    variables = convert.from_timm(timm_hash.tiny_state_dict())
    folded, fewer = inference.fold(models.create("tiny"), variables)
    logits = jax.jit(folded.apply)(fewer, timm_hash.image(*golden["size"]))
    np.testing.assert_allclose(logits[0, :6], golden["logits"], atol=1e-5)
    assert logits.argmax() == golden["argmax"]


def test_folded_models_are_for_inference(model, variables, images):
    folded, fewer = inference.fold(model, variables)
    with pytest.raises(ConfigError, match="cannot be trained"):
        folded.apply(fewer, images, train=True)
    with pytest.raises(ConfigError, match="folded already"):
        inference.fold(folded, fewer)


def test_export_writes_the_folded_task(tmp_path, capsys):
    config = load("configs/maxvit/digits.py", "smoke")[1]
    with config.unlocked():
        config.data.num_classes = 10
    task = Classification(config)
    variables = filled(task.model, config.data.image_size)
    weights.save(tmp_path / "weights.safetensors", variables)
    path = modes.export(task, config, str(tmp_path), None)
    out = capsys.readouterr().out
    assert out.splitlines()[1] == (
        "takes uint8[batch, 24, 24, 3], returns float32[batch, 10]"
    )
    images = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), np.uint8)
    expected = jax.jit(task.logits)(variables, images)
    np.testing.assert_allclose(export.read(path).call(images), expected, atol=1e-5)
    # Folded: not one square root of a variance is left of a dozen batch norms.
    text = export.read(path).mlir_module()
    assert text.count("stablehlo.rsqrt") == 2 * 2 * 2 + 1  # the layer norms
