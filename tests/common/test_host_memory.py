"""What is freed stays with the process until it is given back: in new processes."""

import subprocess
import sys

import pytest

from common import runtime
from tests.common import launching

# Takes, fills and frees 200 MB three times and counts the pages the kernel had to map.
PROBE = """
import resource, sys
from common import host_memory
if sys.argv[1] == "keep":
    host_memory.keep_freed()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b'x' * int(sys.argv[2])
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

counts = [faults() for _ in range(3)]
resident = lambda: int(open("/proc/self/statm").read().split()[1])
kept = resident()
host_memory.release_freed()
print(*counts, kept - resident())
"""


def probe(mode):
    result = subprocess.run(
        [sys.executable, "-c", PROBE, mode, "200000000"],
        cwd=launching.ROOT,
        capture_output=True,
        text=True,
        check=True,
        # Other page sizes would need other numbers.
        env={"GLIBC_TUNABLES": "", "PATH": ""},
    )
    return map(int, result.stdout.split())


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_used_again():
    first, *again, released = probe("keep")
    assert first > 10_000
    assert max(again) < first / 20
    assert released > 40_000  # pages of 4 KiB: most of the 200 MB


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_by_default_it_is_not():
    first, *again, _ = probe("default")
    assert min(again) > first / 2


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"JAX_PLATFORMS": "cpu"}, True),
        ({"JAX_PLATFORMS": "cuda,cpu"}, False),
        ({"JAX_PLATFORMS": "tpu"}, False),
    ],
)
def test_only_where_the_cpu_computes(environment, expected):
    assert runtime._only_cpus(environment) == expected


def test_installed_plugins_tell(monkeypatch):
    monkeypatch.setattr(runtime.importlib.util, "find_spec", lambda name: None)
    assert runtime._only_cpus({})
    monkeypatch.setattr(
        runtime.importlib.util, "find_spec", lambda name: name == "libtpu" or None
    )
    assert not runtime._only_cpus({})
