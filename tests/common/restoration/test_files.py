import os
from pathlib import Path

import pytest

from common.errors import ConfigError, DataError
from common.restoration import files


def make(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def results(jobs, root, output):
    return {
        str(job.source.relative_to(root)): str(job.result.relative_to(output))
        for job in jobs
    }


def test_folders_keep_their_shape(tmp_path):
    photos = make(
        tmp_path / "photos",
        "b.jpg", "a.PNG", "trip/day 1/c.webp", "trip/notes.txt",
        ".hidden/d.png", "trip/._c.webp",
    )  # fmt: skip
    out = tmp_path / "out"
    jobs = files.plan(str(photos), str(out))
    assert results(jobs, photos, out) == {
        "a.PNG": "a.png",
        "b.jpg": "b.png",
        "trip/day 1/c.webp": "trip/day 1/c.png",
    }
    assert jobs == sorted(jobs)
    assert not out.exists()


@pytest.mark.parametrize(
    ("format", "expected"),
    [("jpg", ["x.jpg"] * 3), ("same", ["x.JPEG", "x.tif", "x.png"])],
)
def test_formats(tmp_path, format, expected):
    for name, result in zip(("x.JPEG", "x.tif", "x.gif"), expected, strict=True):
        path = make(tmp_path / name[2:], name) / name
        (job,) = files.plan(str(path), str(tmp_path / "out"), format)
        assert job == (path, tmp_path / "out" / result)


def test_a_file_of_any_name(tmp_path):
    make(tmp_path, "photo")
    (job,) = files.plan(str(tmp_path / "photo"), str(tmp_path / "out"))
    assert job.result == tmp_path / "out/photo.png"


def test_of_pairs_the_input(tmp_path, caplog):
    caplog.set_level("INFO", logger="absl")
    root = make(tmp_path / "set", "input/1.png", "target/1.png", "3.png")
    (job,) = files.plan(str(root), str(tmp_path / "out"))
    assert job == (root / "input/1.png", tmp_path / "out/1.png")
    assert f"{root} holds pairs: the images are those of input" in caplog.text
    with pytest.raises(ConfigError, match="target holds the targets"):
        files.plan(str(root), str(root / "target"))


def test_results_are_not_restored_again(tmp_path):
    make(tmp_path, "a.jpg", "restored/a.png", "other/a.jpg")
    jobs = files.plan(str(tmp_path), str(tmp_path / "restored"))
    assert [job.source.name for job in jobs] == ["a.jpg", "a.jpg"]
    assert jobs[1].result == tmp_path / "restored/other/a.png"


def test_two_images_with_one_result(tmp_path):
    make(tmp_path / "in", "a.jpg", "a.png")
    with pytest.raises(ConfigError, match=r"a\.jpg and .*a\.png would both become"):
        files.plan(str(tmp_path / "in"), str(tmp_path / "out"))
    assert len(files.plan(str(tmp_path / "in"), str(tmp_path / "out"), "same")) == 2


@pytest.mark.parametrize("link", [None, Path.symlink_to, os.link])
def test_an_image_is_never_replaced(tmp_path, link):
    make(tmp_path / "in", "a.png", "b/a.png")
    out = tmp_path / "in"
    if link is not None:
        out = tmp_path / "out"
        out.mkdir()
        if link is os.link:
            os.link(tmp_path / "in/b/a.png", out / "a.png")
        else:
            (out / "a.png").symlink_to(tmp_path / "in/b/a.png")
    with pytest.raises(ConfigError, match=r"would replace the image .*a\.png; give"):
        files.plan(str(tmp_path / "in"), str(out))


def test_other_images_beside_it_are_never_replaced(tmp_path):
    make(tmp_path, "in/a.jpg", "in/a.png", "set/input/1.jpg", "set/target/1.png")
    with pytest.raises(ConfigError, match=r"would replace the image .*in/a\.png; give"):
        files.plan(str(tmp_path / "in/a.jpg"), str(tmp_path / "in"))
    for source in ("set/input", "set/input/1.jpg", "set"):
        with pytest.raises(ConfigError, match=r"target holds the targets of .*set"):
            files.plan(str(tmp_path / source), str(tmp_path / "set/target"))


def test_a_link_to_nothing_is_left_to_the_reader(tmp_path):
    make(tmp_path, "in/a.png", "out/a.png", "out/b.png")
    (tmp_path / "in/b.png").symlink_to(tmp_path / "none")
    jobs = files.plan(str(tmp_path / "in"), str(tmp_path / "out"))
    assert [job.source.name for job in jobs] == ["a.png", "b.png"]


def test_older_results_are_replaced(tmp_path):
    make(tmp_path, "in/a.png", "out/a.png")
    assert len(files.plan(str(tmp_path / "in"), str(tmp_path / "out"))) == 1


@pytest.mark.parametrize(
    ("source", "output", "error", "message"),
    [
        ("none", "out", DataError, "none: no such file or folder"),
        ("empty", "out", DataError, r"empty: no image \(.bmp .gif"),
        ("in", "out.png", ConfigError, r"out\.png must be a folder"),
        ("in", "in/a.txt", ConfigError, "must be a folder"),
    ],
)
def test_mistakes(tmp_path, source, output, error, message):
    make(tmp_path, "in/a.png", "in/a.txt", "empty/x.txt")
    with pytest.raises(error, match=message):
        files.plan(str(tmp_path / source), str(tmp_path / output))
