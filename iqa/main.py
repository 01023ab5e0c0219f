"""Trains and runs quality models: `python -m iqa.main --help`."""

from common import launch

if __name__ == "__main__":
    launch.run(
        package="iqa",
        summary="Image quality as people see it: NIMA, preferences, rankings.",
        tasks={
            "nima": "iqa.nima:Nima",
            "preference": "iqa.preference_task:Preference",
        },
        modes={"rank_study": "iqa.rank_study:run", "score": "iqa.score:run"},
        experiments={
            "check": ("iqa.check:run", "configs/iqa/ava.py"),
            "versions": ("iqa.jpeg_pairs:run", "configs/iqa/ciqa.py"),
        },
        flags="iqa.flags",
    )
