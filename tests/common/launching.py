"""Starts the toy task, or a package's main, in a process of its own."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def start(*args, module="tests.common.toy_main", devices=1, **environment):
    """Returns the process; stdout and stderr are pipes of text."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, args)],
        cwd=ROOT,
        env=os.environ
        | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
        | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group of its own, to signal as a terminal does
    )


def run(*args, **options):
    """Returns (exit code, stdout, stderr) of a finished process."""
    process = start(*args, **options)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def toy(workdir, **overrides):
    """Returns the arguments of a toy run."""
    return [
        "--config=tests/common/toy_config.py",
        f"--workdir={workdir}",
        *(f"--config.{k.replace('__', '.')}={v}" for k, v in overrides.items()),
    ]


def terminate_when(process, line, delay=0.0, number=signal.SIGTERM, group=False):
    """Sends a signal once a line of stderr holds `line`; returns code and stderr."""
    seen = ""
    for text in process.stderr:
        seen += text
        if line in text:
            time.sleep(delay)
            (os.killpg if group else os.kill)(process.pid, number)
            break
    rest = process.communicate(timeout=300)[1]
    return process.returncode, seen + rest


def free_port():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]
