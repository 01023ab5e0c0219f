"""The page is whole, self-contained and safe to open."""

import base64

import numpy as np
import pytest
from PIL import Image

from common.logging.report import write_report
from tests.common.logging import html_page


@pytest.fixture
def page(tmp_path):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "grid.png")
    path = write_report(
        tmp_path,
        title="Tiny <b>run</b>",
        config={
            "model": {"name": "<script>alert(1)</script>", "depth": 3},
            "url": "https://example.org/x.js",
            "<img src=x onerror=alert(2)>": 1,
        },
        metrics={"accuracy": 0.98761, "psnr": float("inf")},
        records=[
            {"step": 1, "kind": "train", "time": 0.0, "loss": 2.0},
            {"step": 10, "kind": "eval", "time": 0.0, "accuracy": 0.5},
            {"step": 20, "kind": "eval", "time": 0.0, "accuracy": 0.75},
        ],
        pictures=[('Samples "quoted"', "grid.png"), ("Gone", "missing.png")],
        facts={"parameters": 30404872, "command": "python -m a --x='<y>' && b"},
    )
    assert path == tmp_path / "report.html"
    return html_page.read(path)


def test_every_tag_is_closed_and_nothing_is_fetched(page):
    assert page.open == []
    assert len(page.links) == 2
    for link in page.links:
        head, data = link.split(",", 1)
        assert head == "data:image/png;base64"
        assert base64.b64decode(data).startswith(b"\x89PNG")
    style = page.source.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in page.source


def test_values_are_escaped(page):
    assert "script" not in page.tags
    assert "<script" not in page.source
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.source
    assert "<img src=x" not in page.source
    assert "<b>run" not in page.source


def test_everything_asked_for_is_shown(page):
    text = "\n".join(page.text)
    for part in (
        "0.9876",
        "inf",
        "30\u202f404\u202f872",
        "python -m a --x='<y>' && b",
        'Samples "quoted"',
        "depth",
        "0.75",
    ):
        assert part in text, part
    assert "Gone" not in text
    assert text.index("0.75") < text.index("\n0.5")
    assert "prefers-color-scheme: dark" in page.source
    assert "width=device-width" in page.source


def test_minimal_run_gives_a_page_without_empty_sections(tmp_path):
    path = write_report(
        tmp_path, title="t", config={}, metrics={}, records=[], pictures=[], facts={}
    )
    assert "<section" not in path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
