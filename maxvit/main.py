"""Trains, evaluates and runs MaxViT: `python -m maxvit.main --help`."""

from common import launch

if __name__ == "__main__":
    launch.run(
        package="maxvit",
        summary="MaxViT: multi-axis vision transformer (arXiv 2204.01697).",
        tasks={"classification": "maxvit.tasks:Classification"},
        modes={"table": "maxvit.table:run"},
    )
