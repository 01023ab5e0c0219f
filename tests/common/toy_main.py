"""Launches the toy task as a package's `main.py` would."""

import os
import signal

from common import launch


def kill_in_save(step):
    """Ends the process like a power cut, after the data and before the commit."""
    from orbax.checkpoint._src.path import atomicity

    finalize = atomicity.CommitFileTemporaryPath.finalize

    async def die(self, *args, **kwargs):
        if self.get_final().name == f"{step:09d}":
            os.kill(os.getpid(), signal.SIGKILL)
        return await finalize(self, *args, **kwargs)

    atomicity.CommitFileTemporaryPath.finalize = die


if __name__ == "__main__":
    if "TOY_KILL_IN_SAVE" in os.environ:
        kill_in_save(int(os.environ["TOY_KILL_IN_SAVE"]))
    launch.run(package="toy", summary="A toy.", tasks={"toy": "tests.common.toy:Toy"})
