import csv
import json
import math

import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image

from common.errors import ConfigError, DataError
from compression import (
    files,
    flags,
    jpeg,
    optimize,
    optimize_command,
    patches,
    tables,
)
from tests.compression.photographs import crop

IMAGE = crop("astronaut", 64, 64)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Three images, one of them broken; patches of 64 pixels, compiled once."""
    monkeypatch.setattr(patches, "SIDE", 64)
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    Image.fromarray(IMAGE).save(folder / "one.png")
    Image.fromarray(IMAGE[..., 1]).save(folder / "more" / "grey.png")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def run(photos, **given):
    output = photos.parent / "out"
    with flagsaver.flagsaver(
        input=str(photos),
        output=str(output),
        **{"steps": 20, "curve_images": 0} | given,
    ):
        return optimize_command.run(None), output


def run_partly(photos, **given):
    with pytest.raises(DataError, match=r"1 of 3 images were not encoded: .*broken"):
        run(photos, **given)
    return photos.parent / "out"


def rows(output):
    with (output / "files.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def quantization(path):
    with Image.open(path) as image:
        return image.quantization


def test_files_carry_the_tables_that_are_written_beside(photos, capsys):
    output = run_partly(photos, rate_weight=["40"])
    pair = tables.read(output / "tables" / "one.json")
    np.testing.assert_array_equal(pair, tables.read(output / "tables" / "one.txt"))
    found = quantization(output / "one.jpg")
    np.testing.assert_array_equal([found[0], found[1]], pair.reshape(2, 64))
    grey = tables.read(output / "tables" / "more" / "grey.json")
    assert quantization(output / "more" / "grey.jpg")[0] == [*grey[0].ravel()]
    saved = json.loads((output / "tables" / "one.json").read_text())
    assert saved["rate_weight"] == 40
    assert saved["subsampling"] == "4:4:4"
    assert not (output / "broken.jpg").exists()
    found = {row["image"]: row for row in rows(output)}
    assert found.keys() == {"one.jpg", "more/grey.jpg"}
    size = (output / "one.jpg").stat().st_size
    assert int(found["one.jpg"]["bytes"]) == size
    assert "fewer bytes than Annex K" in capsys.readouterr().out


def test_several_weights_make_a_folder_each(photos):
    (photos / "broken.png").unlink()
    _, output = run(photos, rate_weight=["160", "10"])
    small, large = (output / f"rate_weight_{w}" / "one.jpg" for w in (160, 10))
    assert small.stat().st_size < large.stat().st_size
    assert (output / "tables" / "rate_weight_10" / "one.json").exists()
    assert len(rows(output)) == 4


def test_shared_tables_are_learned_once(photos):
    output = run_partly(photos, shared=True, subsampling="4:2:0")
    assert {p.name for p in (output / "tables").iterdir()} == {
        "shared.json",
        "shared.txt",
    }
    pair = tables.read(output / "tables" / "shared.json")
    assert quantization(output / "one.jpg")[0] == [*pair[0].ravel()]
    assert quantization(output / "more" / "grey.jpg")[0] == [*pair[0].ravel()]
    with Image.open(output / "one.jpg") as image:
        assert image.layer[0][1:3] == (2, 2)  # 4:2:0


def test_targets_are_met_by_real_files(photos):
    (photos / "broken.png").unlink()
    _, output = run(photos, target_bpp=1.6)
    for name in ("one", "more/grey"):
        size = (output / f"{name}.jpg").stat().st_size
        assert 1.5 < 8 * size / 64**2 <= 1.6
    _, output = run(photos, target_psnr=34.0)
    assert all(34 <= float(row["psnr"]) < 34.4 for row in rows(output))


def test_a_target_out_of_reach_is_said_and_the_rest_goes_on(photos, caplog):
    (photos / "broken.png").unlink()
    with pytest.raises(DataError, match="2 of 2 images were not encoded"):
        run(photos, target_bpp=0.01)
    assert "--target_bpp=0.01 cannot be reached: the smallest possible" in caplog.text


def test_curves_compare_with_the_others(photos):
    (photos / "broken.png").unlink()
    (photos / "more" / "grey.png").unlink()
    _, output = run(photos, curve_images=1)
    assert (output / "rate_distortion.png").stat().st_size > 10_000
    with (output / "rate_distortion.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    names = ("learned", "Annex K", "flat", "RD-OPT")
    assert {p["tables"] for p in points} == set(names)
    mine = [p for p in points if p["tables"] == "Annex K"]
    content = files.encode(IMAGE, jpeg.quality_tables(50), optimize_huffman=True)
    assert f"{8 * len(content) / 64**2:.3f}" in {p["bpp"] for p in mine}


def test_inputs_are_never_replaced(photos):
    (photos / "broken.png").unlink()
    Image.fromarray(IMAGE).save(photos / "one.jpg")
    with pytest.raises(ConfigError, match="would both become"):
        run(photos)
    (photos / "one.png").unlink()
    before = (photos / "one.jpg").read_bytes()
    with (
        flagsaver.flagsaver(input=str(photos), output=str(photos)),
        pytest.raises(ConfigError, match="would replace the image"),
    ):
        optimize_command.run(None)
    assert (photos / "one.jpg").read_bytes() == before


def test_a_workdir_has_no_use(photos):
    with pytest.raises(ConfigError, match="takes no --workdir"):
        run_with_workdir(photos)


def run_with_workdir(photos):
    with flagsaver.flagsaver(input=str(photos), output=str(photos / "out")):
        optimize_command.run("somewhere")


def test_savings_are_said_in_words():
    assert optimize_command._percent(0.213).startswith("21.3 % fewer bytes")
    assert optimize_command._percent(-0.01).startswith("1.0 % more bytes")
    assert optimize_command._percent(math.nan).startswith("beyond")


def test_flags_and_functions_have_the_same_default():
    assert flags.OptimizeOptions("a", "b", (20.0,)).steps == optimize.STEPS
