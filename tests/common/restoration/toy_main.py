"""Launches the task as a package's `main.py` would."""

from common import launch

if __name__ == "__main__":
    launch.run(
        package="toy",
        summary="A toy.",
        tasks={"toy": "tests.common.restoration.toy:Toy"},
        predict="common.restoration.command:run",
        flags="common.restoration.flags",
        presets="tests.common.restoration.toy:preset",
    )
