"""The registry of checkpoints and scores, and the results we write beside them."""

import pytest

from common.errors import ConfigError, DataError
from maxim import models, published

# spec: section 3.3 and 1.13 of what is known of the official release.
EXPECTED = {
    "Denoising/SIDD": ("S-3", 39.96, 0.960),
    "Deblurring/GoPro": ("S-3", 32.86, 0.961),
    "Deblurring/REDS": ("S-3", 28.93, 0.865),
    "Deblurring/RealBlur_R": ("S-3", 39.45, 0.962),
    "Deblurring/RealBlur_J": ("S-3", 32.84, 0.935),
    "Deraining/Rain13k": ("S-2", 33.24, 0.933),
    "Deraining/Raindrop": ("S-2", 31.87, 0.935),
    "Dehazing/SOTS-Indoor": ("S-2", 38.11, 0.991),
    "Dehazing/SOTS-Outdoor": ("S-2", 34.19, 0.985),
    "Enhancement/LOL": ("S-2", 23.43, 0.863),
    "Enhancement/FiveK": ("S-2", 26.15, 0.945),
}


def test_all_checkpoints_are_there_with_their_scores():
    found = {
        name: (c.variant, c.scores[0].psnr, c.scores[0].ssim)
        for name, c in published.CHECKPOINTS.items()
    }
    assert found == EXPECTED
    scores = [s for c in published.CHECKPOINTS.values() for s in c.scores]
    assert len(scores) == 21
    assert {score.source for score in scores} == set(published.SOURCES)
    for name, checkpoint in published.CHECKPOINTS.items():
        assert checkpoint.name == name
        assert checkpoint.channels == ("y" if name.startswith("Derain") else "rgb")
        assert checkpoint.init_from == f"maxim:{name}"
        sets = [score.test_set for score in checkpoint.scores]
        assert len(set(sets)) == len(sets)


def test_the_mean_of_the_rain_sets_is_their_mean():
    mean, *five = published.CHECKPOINTS["Deraining/Rain13k"].scores
    assert len(five) == 5
    assert sum(s.psnr for s in five) / 5 == pytest.approx(mean.psnr, abs=0.0051)
    assert sum(s.ssim for s in five) / 5 == pytest.approx(mean.ssim, abs=0.00051)


def test_addresses():
    assert published.find("Dehazing/SOTS-Indoor").url == (
        "https://storage.googleapis.com/gresearch/maxim/ckpt/Dehazing/SOTS-Indoor/"
        "checkpoint.npz"
    )


def test_configs_name_their_set():
    configs = {c.config for c in published.CHECKPOINTS.values()}
    arguments = {
        "denoise.py": ["SIDD"],
        "deblur.py": ["GoPro", "RealBlur_R", "RealBlur_J", "REDS"],
        "derain.py": ["Rain13k"],
        "dehaze.py": ["ITS", "OTS"],
        "enhance.py": ["FiveK", "LOL"],
    }
    expected = {f"configs/maxim/{f}:{a}" for f, sets in arguments.items() for a in sets}
    assert configs == expected | {"configs/maxim/raindrop.py"}


def test_variants_are_those_of_the_network():
    assert set(published.VARIANTS) <= models.VARIANTS.keys()
    assert {c.variant for c in published.CHECKPOINTS.values()} == set(published.SIZES)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("denoising", "Denoising/SIDD"),
        ("deblurring", "Deblurring/GoPro"),
        ("deraining", "Deraining/Rain13k"),
        ("raindrop", "Deraining/Raindrop"),
        ("dehazing-indoor", "Dehazing/SOTS-Indoor"),
        ("dehazing-outdoor", "Dehazing/SOTS-Outdoor"),
        ("enhancement", "Enhancement/FiveK"),
        ("low-light", "Enhancement/LOL"),
        ("Deblurring/REDS", "Deblurring/REDS"),
        ("Denoising", "Denoising/SIDD"),
        ("deblurring/realblur_j", "Deblurring/RealBlur_J"),
    ],
)
def test_names_of_tasks_and_checkpoints(name, found):
    assert published.find(name).name == found
    assert published.named(f"maxim:{name}") is published.find(name)
    assert published.named(name) is None


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("denoise", "did you mean 'denoising'?"),
        ("lowlight", "did you mean 'low-light'?"),
        ("Denoising/SIDDD", "did you mean 'Denoising/SIDD'?"),
        ("", "unknown MAXIM task or checkpoint '' (choices"),
        ("superresolution", "'superresolution' (choices: Deblurring/GoPro, "),
    ],
)
def test_unknown_names_are_told_the_closest(name, hint):
    with pytest.raises(ConfigError) as caught:
        published.find(name)
    assert hint in str(caught.value)
    for choice in ("raindrop", "Enhancement/LOL"):
        assert choice in str(caught.value)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("deblurring/realblur", "Deblurring/RealBlur_R or Deblurring/RealBlur_J:"),
        (
            "dehazing",
            "dehazing-indoor or dehazing-outdoor or Dehazing/SOTS-Indoor or "
            "Dehazing/SOTS-Outdoor: say which",
        ),
    ],
)
def test_what_several_names_begin_with_is_not_guessed(name, choices):
    with pytest.raises(ConfigError) as caught:
        published.find(name)
    assert str(caught.value).startswith(f"'{name}' can mean {choices}")


HEAD = "checkpoint,test_set,weights,psnr,ssim,command\n"


def test_results_are_read(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(HEAD + 'Enhancement/LOL,LOL,official,23.4,0.86,"python, twice"\n')
    assert published.read_results(path) == [
        published.Result(
            "Enhancement/LOL", "LOL", "official", 23.4, 0.86, "python, twice"
        )
    ]
    published.read_results()  # the committed file


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Enhancement/LOL,LOL,own,23.4", ":2 is not a result: Enhancement/LOL,LOL,"),
        ("Enhancement/LOL,LOL,own,a,b,c", ":2 is not a result"),
        ("Enhancement/LO,LOL,own,23,0.8,x", ":2: unknown checkpoint 'Enhancement/LO'"),
        ("Enhancement/LOL,LoL,own,23,0.8,x", "did you mean 'LOL'?"),
        ("Enhancement/LOL,LOL,ow,23,0.8,x", "unknown weights 'ow'"),
        ("Enhancement/LOL,LOL,own,inf,0.8,x", ":2: psnr=inf must be in (0, 100)"),
        ("Enhancement/LOL,LOL,own,nan,0.8,x", ":2: psnr=nan must be in (0, 100)"),
        ("Enhancement/LOL,LOL,own,23,80.8,x", ":2: ssim=80.8 must be in (0, 1]"),
        ("Enhancement/LOL,LOL,own,23,0.8, ", ":2: command is empty"),
    ],
)
def test_a_mistake_in_the_results_names_its_line(tmp_path, line, message):
    path = tmp_path / "results.csv"
    path.write_text(HEAD + line + "\n")
    with pytest.raises(DataError) as error:
        published.read_results(path)
    assert message in str(error.value)
