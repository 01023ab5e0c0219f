"""How restoration data sets lay out their pairs of images, as a table of patterns.

The patterns follow the sets as their authors publish them or as public loaders read
them; none of the sets was at hand when this was written, so they were tried on made-up
files of these names only:

* `input/` and `target/`: the official MAXIM code, and Restormer's repacked deraining,
  deblurring and denoising sets.
* SIDD: the authors' site (scene folders with `NOISY_SRGB_010.PNG`, `GT_SRGB_010.PNG`).
* GoPro: `blur/` and `sharp/` of GOPRO_Large; `blur_gamma/` is not used.
* HIDE: `train/`, `test/<kind>/` and one `GT/` for both, as loaders read HIDE_dataset.
* RealBlur and the SIDD validation blocks: see `common.data.sources.indexes`.
* REDS: `train_blur_jpeg/` and `train_sharp/` as NAFNet describes them. Which 300
  frames of `val` papers evaluate on is not known here.
* Rain13k: `train/Rain13K/` and `test/<set>/`, as Restormer's downloads.
* Raindrop: `data/0_rain.png` and `gt/0_clean.png` in `train/`, `test_a/`, `test_b/`.
* RESIDE: ITS and OTS with `hazy/` or `haze/` and `clear/`, SOTS with `hazy/` and `gt/`;
  the first number of a name is that of the clear image.
* MIT-Adobe FiveK: `input/` and `expertC/` or `expertC_gt/`; the last 500 names are for
  testing (MAXIM and others; public code sorts the names the same way).
* LOL: `our485/` and `eval15/` with `low/` and `high/`.
"""

from __future__ import annotations

import dataclasses

_SCOPE = r"(?:(?P<scope>.+)/)?"
_SUB = r"(?P<sub>/.+)?"
_NAME = r"(?P<name>.+)"


@dataclasses.dataclass(frozen=True)
class Layout:
    r"""Finds inputs by pattern, and says where their targets are.

    The named groups of both patterns fill the templates. Suffixes of files are no part
    of names: a JPEG may have a PNG as its target.

    Attributes:
      title: for messages.
      folder: regular expression of a folder of inputs, from the root on.
      name: regular expression of an input's name.
      targets: templates of the target; the first one that is there is taken.
      scope: template of the scope, by whose name splits are chosen.
      any_folder: whether folders that are no inputs fit the pattern, too.
      last_for_test: so many of the names, sorted, are for evaluation where no split
        folders say it; 0: none.
    """

    title: str
    folder: str
    name: str
    targets: tuple[str, ...]
    scope: str = "{scope}"
    any_folder: bool = False
    last_for_test: int = 0


LAYOUTS = (
    Layout(
        "MIT-Adobe FiveK",
        rf"{_SCOPE}input",
        r"(?P<name>a\d{4}.*)",
        (
            "{scope}/target/{name}",
            "{scope}/expertC/{name}",
            "{scope}/expertC_gt/{name}",
        ),
        last_for_test=500,
    ),
    Layout(
        "input/ and target/",
        rf"{_SCOPE}input(?P<crops>_crops)?{_SUB}",
        _NAME,
        ("{scope}/target{crops}{sub}/{name}",),
    ),
    Layout(
        "SIDD",
        rf"{_SCOPE}(?P<scene>\d{{4}}_\d{{3}}_[^/]+)",
        r"(?P<before>.*)NOISY_SRGB_(?P<after>.+)",
        ("{scope}/{scene}/{before}GT_SRGB_{after}",),
        scope="{scope}/train",
    ),
    Layout(
        "GoPro",
        rf"{_SCOPE}blur{_SUB}",
        _NAME,
        ("{scope}/sharp{sub}/{name}",),
    ),
    Layout(
        "HIDE",
        rf"{_SCOPE}(?P<part>train|test){_SUB}",
        _NAME,
        ("{scope}/GT/{name}",),
        scope="{scope}/{part}{sub}",
        any_folder=True,
    ),
    Layout(
        "REDS",
        rf"{_SCOPE}(?P<track>(?P<part>train|val)_blur(?:_jpeg|_comp)?){_SUB}",
        _NAME,
        ("{scope}/{part}_sharp{sub}/{name}",),
        scope="{scope}/{track}",
    ),
    Layout(
        "Raindrop",
        rf"{_SCOPE}data",
        r"(?P<number>.+)_rain",
        ("{scope}/gt/{number}_clean",),
    ),
    Layout(
        "RESIDE",
        rf"{_SCOPE}haz[ey][^/]*{_SUB}",
        r"(?P<name>(?P<number>[^_]+).*)",
        (
            *("{scope}/clear/{name}", "{scope}/clear/{number}"),
            *("{scope}/gt/{name}", "{scope}/gt/{number}"),
        ),
    ),
    Layout(
        "LOL",
        rf"{_SCOPE}low{_SUB}",
        _NAME,
        ("{scope}/high{sub}/{name}",),
    ),
)
