"""Trains, compares and runs learned resizers: `python -m resizer.main --help`."""

from common import launch

if __name__ == "__main__":
    launch.run(
        package="resizer",
        summary="Learning to resize images for vision tasks (arXiv 2103.09950).",
        tasks={
            "classification": "resizer.tasks:Classification",
            "nima": "iqa.nima:Nima",
        },
        modes={"table": "resizer.table:run"},
        experiments={
            "study": ("resizer.study:run", "configs/resizer/rated_photos.py"),
            "grid": ("resizer.grid:run", "configs/resizer/rated_photos.py"),
        },
        predict="resizer.predict:run",
        flags="resizer.flags",
    )
