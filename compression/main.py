"""Learns and applies JPEG tables: `python -m compression.main --help`."""

from common import launch

if __name__ == "__main__":
    launch.run(
        package="compression",
        summary="JPEG tables for rate, distortion and accuracy (arXiv 2008.00605).",
        tasks={"tables": "compression.tasks:Tables"},
        modes={
            "optimize": "compression.optimize_command:run",
            "apply": "compression.apply:run",
            "calibrate": "compression.calibration:run",
        },
        flags="compression.flags",
    )
