"""Scoring a folder: the best first, nothing lost without a count."""

import types

import jax
import numpy as np
import pytest
from PIL import Image, ImageFilter
from skimage import data

from common.errors import ConfigError, DataError
from common.metrics import image as metrics
from iqa import flags, score
from iqa.preference_config import default_config
from iqa.preference_task import Preference
from tests.common.logging import html_page


@pytest.fixture
def folders(tmp_path):
    clean = Image.fromarray(data.coffee()[:180, :200])
    for name in ("images", "references/sub"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "images/sub").mkdir()
    names = ("a.png", "b.png", "sub/c.png", "broken.png", "small.png", "alone.png")
    for name in names:
        if name != "alone.png":
            clean.save(tmp_path / "references" / name)
    home = tmp_path / "images"
    clean.filter(ImageFilter.GaussianBlur(3)).save(home / "a.png")
    clean.save(home / "b.png")
    clean.filter(ImageFilter.GaussianBlur(1)).save(home / "sub/c.png")
    (home / "broken.png").write_bytes(b"no picture")
    clean.resize((50, 40)).save(home / "small.png")
    clean.save(home / "alone.png")
    return tmp_path


def run(monkeypatch, folder, workdir=None, reference="references"):
    options = flags.ScoreOptions(
        str(folder / "images"),
        str(folder / "out"),
        None if reference is None else str(folder / reference),
    )
    monkeypatch.setattr(score.flags, "score_options", lambda: options)
    return score.run(workdir)


def test_with_references(folders, monkeypatch, caplog):
    text = run(monkeypatch, folders)
    rows = (folders / "out/scores.csv").read_text().splitlines()
    assert rows[0] == "image,ms_ssim,ssim,psnr"
    assert [row.split(",")[0] for row in rows[1:]] == ["b.png", "sub/c.png", "a.png"]
    assert rows[1] == "b.png,1.0000,1.0000,inf"
    image = np.asarray(Image.open(folders / "images/a.png"))
    target = np.asarray(Image.open(folders / "references/a.png"))
    assert rows[3].endswith(f"{metrics.psnr(image, target):.2f}")
    assert text.endswith("3 images were not scored")
    for reason in (
        "alone.png has no reference",
        "cannot read image",
        "is 50 x 40 and its reference",
    ):
        assert reason in caplog.text
    page = html_page.read(folders / "out/scores.html")
    assert page.open == []
    shown = "".join(page.text)
    assert shown.index("b.png") < shown.index("c.png") < shown.index("a.png")
    assert shown.index("Not scored") < shown.index("broken.png")
    assert page.tags.count("img") == 3


def test_one_reference_for_all(folders, monkeypatch):
    run(monkeypatch, folders, reference="references/b.png")
    rows = (folders / "out/scores.csv").read_text().splitlines()
    assert {row.split(",")[0] for row in rows[1:]} == {
        *("a.png", "b.png", "sub/c.png", "alone.png")
    }


def test_by_a_model(folders, monkeypatch):
    """The model's scores come first, and without references no image needs one."""

    def judge(path, reference):
        assert reference is None
        if path.name == "broken.png":
            raise DataError("cannot read it")
        return {"mean": float(len(path.name)), "deviation": 1.0}

    monkeypatch.setattr(score, "_judge", lambda workdir, has_references: judge)
    run(monkeypatch, folders, "run", reference=None)
    rows = (folders / "out/scores.csv").read_text().splitlines()
    assert rows[0] == "image,mean,deviation"
    assert rows[1].split(",")[0] == "alone.png"
    assert len(rows) == 6
    monkeypatch.setattr(score, "LIMIT", 2)
    run(monkeypatch, folders, "run", reference=None)
    page = html_page.read(folders / "out/scores.html")
    assert page.tags.count("img") == 2
    assert any("5 images, the best first; the 1 best" in text for text in page.text)


def test_mistakes(folders, monkeypatch):
    with pytest.raises(ConfigError, match=r"needs --workdir=RUN, .* or --reference"):
        run(monkeypatch, folders, reference=None)
    with pytest.raises(
        DataError, match=r"--reference=.*nowhere: no such file or folder"
    ):
        run(monkeypatch, folders, reference="nowhere")
    with pytest.raises(DataError, match="no run to score with"):
        run(monkeypatch, folders, str(folders / "none"))
    other = types.SimpleNamespace(task="classification")
    monkeypatch.setattr(score.configs, "load", lambda workdir: other)
    with pytest.raises(
        ConfigError, match=r"config\.task=classification; .* of nima or"
    ):
        run(monkeypatch, folders, "run")
    (folders / "empty").mkdir()
    with pytest.raises(DataError, match="no image"):
        run(monkeypatch, folders, reference="empty")


def test_by_a_metric_that_compares(folders, monkeypatch):
    """The run of a preference metric scores against references, and only so."""
    config = default_config()
    config.model.backbone, config.data.source = "small", "preference_photos"
    task = Preference(config)
    spec = task.batch_spec(1)
    batch = {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in spec.items()}
    variables = task.init(jax.random.key(0), batch)
    monkeypatch.setattr(score.configs, "load", lambda workdir: config)
    monkeypatch.setattr(score.modes, "find_variables", lambda *_: (variables, "run"))
    monkeypatch.setattr(score.modes, "on_one_device", lambda *_: None)
    run(monkeypatch, folders, "run")
    rows = (folders / "out/scores.csv").read_text().splitlines()
    assert rows[0] == "image,preference,ms_ssim,ssim,psnr"
    assert [row.split(",")[0] for row in rows[1:]] == ["b.png", "sub/c.png", "a.png"]
    values = [float(row.split(",")[1]) for row in rows[1:]]
    assert values[0] == 0 > values[1] > values[2]
    with pytest.raises(ConfigError, match=r"compares with references: --reference="):
        run(monkeypatch, folders, "run", reference=None)
