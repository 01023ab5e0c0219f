"""Trains on noisy data and audits data: `python -m robust.main --help`."""

from common import launch

if __name__ == "__main__":
    launch.run(
        package="robust",
        summary="Every training example is an expert: reweighting (arXiv 2104.01493).",
        tasks={"classification": "robust.classification:Classification"},
        modes={"pca": "robust.pca_study:run"},
        experiments={
            "audit": ("robust.audit:run", "configs/robust/folder.py"),
            "study": ("robust.study:run", "configs/robust/digits.py"),
        },
        flags="robust.flags",
    )
