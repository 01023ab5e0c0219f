"""Values of the host from several processes."""

import json
import math
import socket
import subprocess
import sys

from common.parallel.gather import gather

SCRIPT = """
import sys, json, jax
jax.distributed.initialize("localhost:" + sys.argv[2], 2, int(sys.argv[1]))
from common.parallel.gather import gather
given = [{"value": float("inf")}] if sys.argv[1] == "0" else ["\u00e9" * 40, None]
print(json.dumps(gather(given)))
"""


def test_one_process():
    assert gather({"a": [1]}) == [{"a": [1]}]


def test_two_processes():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, number, port], stdout=subprocess.PIPE
        )
        for number in "01"
    ]
    for process in processes:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        first, second = json.loads(out.splitlines()[-1])  # libraries print, too
        assert first == [{"value": math.inf}]
        assert second == ["\u00e9" * 40, None]
