"""Trains, evaluates and runs MAXIM: `python -m maxim.main --help`."""

from common import launch

if __name__ == "__main__":
    launch.run(
        package="maxim",
        summary="MAXIM: multi-axis MLP for image restoration (arXiv 2201.02973).",
        tasks={"restoration": "maxim.tasks:Restoration"},
        modes={"table": "maxim.table:run"},
        predict="common.restoration.command:run",
        flags="common.restoration.flags",
        presets="maxim.predict:preset",
    )
