"""One image after the other: read ahead, and go on when one fails."""

import pytest
from PIL import Image

from common.errors import ConfigError, DataError
from common.restoration import pictures, walk
from common.restoration.files import Job


def test_no_more_than_two_pictures_are_read_ahead(monkeypatch):
    read = []
    monkeypatch.setattr(pictures, "read", lambda path: read.append(path))
    jobs = [Job(number, None) for number in range(6)]
    for number, (job, picture) in enumerate(walk._read_ahead(jobs)):
        picture.result()
        assert job.source == number
        assert len(read) <= number + 2
    assert read == list(range(6))


def make(folder, count):
    jobs = []
    for number in range(count):
        path = folder / f"{number}.png"
        Image.new("L", (number + 1, 1)).save(path)
        jobs.append(Job(path, folder / "out" / f"{number}.png"))
    return jobs


def test_what_fails_is_skipped_and_named(tmp_path, caplog):
    jobs, said = make(tmp_path, 5), []
    jobs[0].source.write_text("no image")
    errors = {2: DataError("dull"), 3: OSError("full"), 4: MemoryError()}

    def work(job, picture):
        width = picture.pixels.shape[1]
        if width in errors:
            raise errors[width]
        return f"width {width}"

    failed = walk.each(jobs, work, said.append)
    assert failed == [jobs[0], jobs[1], jobs[2], jobs[3]]
    assert len(said) == 1
    assert said[0].startswith("width 5, ")
    assert said[0].endswith(" s")
    reasons = ("cannot be read: ", "dull", "full", "no memory left")
    for job, reason in zip(failed, reasons, strict=True):
        assert f"{job.source}: {reason}" in caplog.text
    with pytest.raises(DataError, match=r"4 of 5 images were not painted: .*, \.\.\.$"):
        walk.check_all(jobs, failed, "painted")
    walk.check_all(jobs, [], "painted")


def test_a_mistake_that_is_not_the_image_s_ends_it(tmp_path):
    def work(job, picture):
        raise ConfigError("tables")

    with pytest.raises(ConfigError, match="tables"):
        walk.each(make(tmp_path, 2), work, print)
