"""Trains and runs the diffusion: `python -m deblur_diffusion.main --help`."""

from common import launch

if __name__ == "__main__":
    launch.run(
        package="deblur_diffusion",
        summary="Deblurring via stochastic refinement (arXiv 2112.02475).",
        tasks={"restoration": "deblur_diffusion.tasks:Deblurring"},
        experiments={
            "grid": ("deblur_diffusion.grid:run", "configs/deblur_diffusion/gopro.py")
        },
        predict="deblur_diffusion.predict:run",
        flags="deblur_diffusion.flags",
    )
