"""Trains and runs quality models: `python -m iqa.main --help`."""

from common import launch

if __name__ == "__main__":
    launch.run(
        package="iqa",
        summary="Image quality as people see it: NIMA, preferences, rankings.",
        tasks={"nima": "iqa.nima:Nima"},
        experiments={"check": ("iqa.check:run", "configs/iqa/ava.py")},
    )
