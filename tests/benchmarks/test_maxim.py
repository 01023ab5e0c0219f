"""The plain formulation computes the same, and the benchmark's programs run."""

import json

import jax
import numpy as np
from absl import flags

from benchmarks import maxim, maxim_plain, maxim_worker
from maxim import models
from tests.maxim import golden


def test_both_forms_agree():
    shared = {"depth": 1, "num_stages": 2, "num_groups": 1, "num_bottleneck_blocks": 1}
    model = models.create(
        "S-1",
        num_supervision_scales=1,
        features=8,
        block_size_hr=4,
        grid_size_hr=4,
        block_size_lr=2,
        **shared,
    )
    plain = maxim_plain.Plain(features=8, side_hr=4, side_lr=2, **shared)
    params = golden.filled(golden.shapes(model, 16))
    images = golden.image("x", (2, 16, 32, 3))
    shapes = golden.names(jax.eval_shape(plain.init, jax.random.key(0), images))
    ours = golden.names({"params": params})
    assert {k: v.shape for k, v in shapes.items()} == {
        k: v.shape for k, v in ours.items()
    }
    both = [golden.run(m.apply, {"params": params}, images) for m in (model, plain)]
    for one, other in zip(*map(jax.tree.leaves, both), strict=True):
        np.testing.assert_allclose(one, other, atol=golden.ATOL)


def test_worker_compiles_and_runs(monkeypatch):
    tiny = {"num_stages": 1, "num_groups": 1, "num_bottleneck_blocks": 1, "depth": 1}
    create = models.create
    monkeypatch.setattr(
        models,
        "create",
        lambda variant, **rest: create(
            variant, num_supervision_scales=1, features=8, **tiny, **rest
        ),
    )
    job = {
        "form": "ours",
        "variant": "S-1",
        "height": 16,
        "width": 16,
        "platform": "cpu",
        "memory_only": False,
        "lean": False,
    }
    program = maxim_worker.build(job)
    program.run()
    facts = json.loads(json.dumps(program.facts))
    assert facts["temporary_bytes"] > 0
    assert facts["flops"] > 1e6
    assert np.isfinite(facts["checksum"])


def test_flags_have_defaults():
    values = flags.FlagValues()
    maxim.define_flags(values)
    values(["benchmark", "--variants=S-1,S-2"])
    assert values.variants == ["S-1", "S-2"]
    assert values.platform == "cpu"
