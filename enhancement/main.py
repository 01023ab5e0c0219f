"""Trains, evaluates and runs the networks: `python -m enhancement.main --help`."""

from common import launch

if __name__ == "__main__":
    launch.run(
        package="enhancement",
        summary="Projected distribution loss (arXiv 2012.09289) and satellite "
        "super-resolution (arXiv 2002.11248).",
        tasks={
            "restoration": "enhancement.tasks:Restoration",
            "satellite": "enhancement.satellite_task:SatelliteSR",
        },
        experiments={
            "study": ("enhancement.study:run", "configs/enhancement/photos.py"),
            "matrix": (
                "enhancement.matrix:run",
                "configs/enhancement/satellite_photos.py",
            ),
        },
        predict="enhancement.command:run",
        flags="enhancement.flags",
    )
