"""What the flags mean together, and which mode reads them."""

import subprocess
import sys

import pytest
from absl import flags as absl_flags
from absl.testing import flagsaver

from common.errors import ConfigError
from compression import flags
from compression.flags import ApplyOptions, CalibrateOptions, OptimizeOptions
from tests.common import launching

FOLDERS = {"input": "in", "output": "out"}


def read(mode, **given):
    with flagsaver.flagsaver(**given):
        return getattr(flags, f"{mode}_options")()


def test_what_is_meant_when_nothing_is_said():
    expected = OptimizeOptions(
        "in", "out", (20.0,), None, None, False, "4:4:4", True, 100, "laplace", 4
    )
    assert read("optimize", **FOLDERS) == expected
    assert expected == OptimizeOptions("in", "out", rate_weights=(20.0,))
    assert read("apply", **FOLDERS, quality=0) == ApplyOptions("in", "out", None, 0)
    assert read("calibrate") == CalibrateOptions(None, "4:4:4")


def test_everything_is_passed_on():
    given = {
        "shared": True,
        "subsampling": "4:2:0",
        "optimize_huffman": False,
        "steps": 7,
        "rate_model": "nonzero",
        "curve_images": 0,
    }
    assert read("optimize", **FOLDERS, **given, rate_weight=["5", "1e1", ".5"]) == (
        OptimizeOptions("in", "out", rate_weights=(5, 10, 0.5), **given)
    )
    for target in ("target_bpp", "target_psnr"):
        assert read("optimize", **FOLDERS, **{target: 1.5}) == OptimizeOptions(
            "in", "out", (), **{target: 1.5}
        )
    given = {"tables": "t", "subsampling": "4:2:2", "optimize_huffman": False}
    assert read("apply", **FOLDERS, **given) == ApplyOptions("in", "out", **given)
    given = {"input": "in", "subsampling": "4:2:0"}
    assert read("calibrate", **given) == CalibrateOptions(**given)


@pytest.mark.parametrize(
    ("mode", "given", "message"),
    [
        ("optimize", {}, "--mode=optimize needs --input=DIR_OR_FILE and --output=DIR"),
        ("optimize", {"input": "in"}, "needs --input=DIR_OR_FILE and --output=DIR"),
        ("apply", {"output": "out"}, "--mode=apply needs --input=DIR_OR_FILE and"),
        ("apply", FOLDERS, "--tables=FILE or --quality=N is needed"),
        (
            "apply",
            {**FOLDERS, "tables": "t", "quality": 50},
            "--tables=FILE and --quality=N exclude each other",
        ),
        (
            "optimize",
            {**FOLDERS, "rate_weight": ["5"], "target_psnr": 40.0},
            "--rate_weight=W and --target_psnr=P exclude each other",
        ),
        (
            "optimize",
            {**FOLDERS, "target_bpp": 1.0, "target_psnr": 40.0},
            "--target_bpp=R and --target_psnr=P exclude each other",
        ),
        (
            "optimize",
            {**FOLDERS, "rate_weight": []},
            "--rate_weight=W or --target_bpp=R or --target_psnr=P is needed",
        ),
        (
            "optimize",
            {**FOLDERS, "rate_weight": ["5", "x"]},
            "--rate_weight=5,x: numbers with commas between are expected",
        ),
        ("optimize", {**FOLDERS, "rate_weight": ["5", ""]}, "rate_weight=5,: numbers"),
        (
            "optimize",
            {**FOLDERS, "rate_weight": ["5", "0"]},
            "rate_weight=0 must be gr",
        ),
        ("optimize", {**FOLDERS, "rate_weight": ["inf"]}, "rate_weight=inf must be gr"),
        ("optimize", {**FOLDERS, "rate_weight": ["5", "5."]}, "=5,5 has one weight tw"),
        ("optimize", {**FOLDERS, "target_bpp": 0.0}, "--target_bpp=0 must be greater"),
        ("optimize", {**FOLDERS, "target_bpp": float("nan")}, "--target_bpp=nan must"),
        ("optimize", {**FOLDERS, "target_psnr": -3.0}, "--target_psnr=-3 must be"),
        ("optimize", {**FOLDERS, "steps": 0}, "--steps=0 must be at least 1"),
        (
            "optimize",
            {**FOLDERS, "curve_images": -1},
            "--curve_images=-1 must be at le",
        ),
        (
            "optimize",
            {**FOLDERS, "rate_model": "laplas"},
            "unknown --rate_model 'laplas'; did you mean 'laplace'?",
        ),
        (
            "optimize",
            {**FOLDERS, "subsampling": "420"},
            "unknown --subsampling '420'; did you mean '4:2:0'?",
        ),
        ("apply", {**FOLDERS, "quality": 9, "subsampling": "x"}, "--subsampling 'x'"),
        ("calibrate", {"subsampling": "4:4"}, "--subsampling '4:4'; did you mean"),
        (
            "optimize",
            {**FOLDERS, "quality": 50},
            "--quality can be given with --mode=apply, --mode is optimize",
        ),
        (
            "apply",
            {**FOLDERS, "quality": 50, "steps": 300},
            "--steps can be given with --mode=optimize, --mode is apply",
        ),
        (
            "calibrate",
            {"output": "out"},
            "--output can be given with --mode=optimize or --mode=apply, --mode is cal",
        ),
    ],
)
def test_mistakes(mode, given, message):
    with pytest.raises(ConfigError) as told:
        read(mode, **given)
    assert message in str(told.value)


def test_every_flag_is_read_by_some_mode():
    own = {f.name for f in absl_flags.FLAGS.get_key_flags_for_module(flags.__name__)}
    assert own == {name for read in flags._READ.values() for name in read}
    assert list(flags._READ) == list(flags.MODES)


def test_they_are_light_to_import():
    code = (
        "import sys, compression.flags;"
        "assert not {'jax', 'numpy', 'PIL', 'cv2'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=launching.ROOT)
    assert result.returncode == 0
