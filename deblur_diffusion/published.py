"""What is published (arXiv 2112.02475, tables 1 and 2), read off images of the tables.

Ground truth has the NIQE that code for it has to find first: 3.21 on GoPro, 2.72 on
HIDE.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """Means over a test set; None where the table has no value.

    Attributes:
      method: as the paper calls it.
      lpips: less is better, as of the next three.
      niqe: without a reference.
      fid: of 15 patches of each image.
      kid: of the same, times 1000.
      psnr: in dB.
      ssim: at most 1.
    """

    method: str
    lpips: float | None
    niqe: float | None
    fid: float | None
    kid: float | None
    psnr: float
    ssim: float | None


TABLES: dict[str, tuple[Row, ...]] = {
    "GoPro": (
        Row("HINet", 0.088, 4.01, 17.91, 8.15, 32.77, 0.960),
        Row("MPRNet", 0.089, 4.09, 20.18, 9.10, 32.66, 0.959),
        Row("MIMO-UNet+", 0.091, 4.03, 18.05, 8.17, 32.45, 0.957),
        Row("SAPHNet", 0.101, 3.99, 19.06, 8.48, 31.89, 0.953),
        Row("SimpleNet", 0.108, None, None, None, 31.52, 0.950),
        Row("DeblurGAN-v2", 0.117, 3.68, 13.40, 4.41, 29.08, 0.918),
        Row("Ours (500 steps)", 0.059, 3.39, 4.04, 0.98, 31.66, 0.948),
        Row("Ours-SA (10 steps, mean)", 0.078, 4.07, 17.46, 8.03, 33.23, 0.963),
        Row("predictor alone, L2", None, None, None, None, 33.07, None),
    ),
    "HIDE": (
        Row("HINet", 0.120, 3.20, 15.17, 7.33, 30.33, 0.932),
        Row("MIMO-UNet+", 0.124, 3.24, 16.01, 7.91, 29.99, 0.930),
        Row("MPRNet", 0.114, 3.46, 16.58, 8.35, 30.96, 0.939),
        Row("SAPHNet", 0.128, 3.21, 16.77, 8.39, 29.99, 0.930),
        Row("DeblurGAN-v2", 0.159, 2.96, 15.51, 6.97, 27.51, 0.885),
        Row("Ours", 0.089, 2.69, 5.43, 1.61, 29.77, 0.922),
        Row("Ours-SA", 0.092, 2.93, 6.37, 2.40, 30.07, 0.928),
    ),
}
