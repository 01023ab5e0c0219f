"""Tests run on eight virtual CPU devices, so sharding is tested everywhere."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
# Two workers share two cores: more BLAS threads than that only fight.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ["MPLBACKEND"] = "Agg"

import pytest
from absl import flags

# Grain reads absl flags, which only a launcher parses.
flags.FLAGS.mark_as_parsed()


@pytest.fixture(autouse=True)
def _no_leftover_environment(monkeypatch):
    """A developer's own data folder must not change what a test sees."""
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
