import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import DataError
from common.restoration import memory
from common.restoration.programs import Programs, to_bfloat16

VARIABLES = {"params": {"gain": np.float32([2, 3, 4])}}


class Counting(Programs):
    """Counts how often it traces."""

    def __init__(self, function=lambda gain, x: x * gain):
        self.traced = []

        def apply(variables, images):
            self.traced.append(images.shape)
            return function(variables["params"]["gain"], images)

        super().__init__(apply, multiple=8)


def images(height, width):
    return np.ones((1, height, width, 3), np.float32)


def test_each_size_is_compiled_once_whatever_the_values():
    programs = Counting()
    for size in ((8, 8), (8, 16), (8, 8), (8, 16)):
        result = programs(VARIABLES, images(*size))
        np.testing.assert_array_equal(result[0, 0, 0], [2, 3, 4])
    others = {"params": {"gain": np.float32([5, 5, 5])}}
    assert programs(others, images(8, 8)).max() == 5
    assert programs.traced == [(1, 8, 8, 3), (1, 8, 16, 3)]
    programs(to_bfloat16(others), images(8, 8))
    assert len(programs.traced) == 3


def test_what_a_program_needs_is_measured():
    """What is between two products, and the result."""
    program = jax.jit(lambda x, a, b: x @ a @ b)
    x, a, b = np.ones((1000, 3)), np.ones((3, 100)), np.ones((100, 3))
    floats = 1000 * 100 + 1000 * 3
    needed = memory.needed(program.lower(x, a, b).compile())
    assert 4 * floats <= needed < 1.1 * 4 * floats


@pytest.mark.parametrize("enough", [None, 1.26 * 2**30])
@pytest.mark.parametrize(
    ("free", "tile"),
    # A fifth is kept; 0.8 / 4 of the pixels are tiles of 28.
    [(0.25, 24), (1.24, 56), (0.001, 8)],
)
def test_too_large_is_said_before_it_runs(monkeypatch, free, tile, enough):
    ran = []
    programs = Counting(lambda gain, x: jax.debug.callback(ran.append, x.sum()) or x)
    monkeypatch.setattr(memory, "needed", lambda program: 2**30)
    monkeypatch.setattr(memory, "available", lambda device: int(free * 2**30))
    message = f"64 x 64 pixels at once need 1.0 GiB of memory, .*use --tile={tile}$"
    for _ in range(2):
        with pytest.raises(DataError, match=message):
            programs(VARIABLES, images(64, 64))
    assert len(programs.traced) == 1  # it need not be compiled to be refused again
    assert not ran
    monkeypatch.setattr(memory, "available", lambda device: enough)
    programs(VARIABLES, images(64, 64))
    jax.effects_barrier()
    assert ran


@pytest.mark.parametrize("known", [True, False])
def test_when_memory_runs_out_after_all(known):
    programs = Counting()
    programs(VARIABLES, images(64, 128))

    def fail(*_):
        message = "RESOURCE_EXHAUSTED: Out of memory" if known else "INTERNAL: Bug"
        raise jax.errors.JaxRuntimeError(message)

    programs._compiled = dict.fromkeys(programs._compiled, fail)
    error, message = DataError, "128 x 64 pixels .*use --tile=64$"
    if not known:
        error, message = jax.errors.JaxRuntimeError, "INTERNAL"
    with pytest.raises(error, match=message):
        programs(VARIABLES, images(64, 128))


def test_half_the_memory_for_what_is_real():
    narrow = to_bfloat16({"a": np.float32([1.001]), "b": np.int32([7])})
    assert (narrow["a"].dtype, narrow["b"].dtype) == (jnp.bfloat16, np.int32)
    assert narrow["a"] == 1


MEMINFO = "MemTotal: 900 kB\nMemAvailable:   500 kB\n"


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ({}, 500 * 1024),
        ({"memory.max": "max", "memory.current": "9", "memory.stat": ""}, 500 * 1024),
        (
            {
                "memory.max": "300000\n",
                "memory.current": "200000\n",
                "memory.stat": "anon 3\ninactive_file 50000\n",
            },
            150_000,
        ),
        (
            {
                "memory/memory.limit_in_bytes": "300000\n",
                "memory/memory.usage_in_bytes": "310000\n",
                "memory/memory.stat": "total_inactive_file 1000\n",
            },
            0,
        ),
    ],
)
def test_what_is_available_in_a_container(tmp_path, group, expected):
    for name, text in {f"sys/fs/cgroup/{k}": v for k, v in group.items()}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(MEMINFO)
    assert memory.available_to_host(tmp_path) == expected


def test_what_is_available_here():
    assert 2**20 < memory.available(jax.devices("cpu")[0]) < 2**46


def test_what_an_accelerator_has_left():
    class Device:
        platform = "gpu"
        stats = {"bytes_limit": 100, "bytes_in_use": 30}  # noqa: RUF012

        def memory_stats(self):
            return self.stats

    assert memory.available(Device()) == 70
    Device.stats = None
    assert memory.available(Device()) is None
