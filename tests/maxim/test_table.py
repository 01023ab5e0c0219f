"""Counts against the published ones, and what the table says of our own results."""

import csv
import io

import jax
import numpy as np
import pytest

from common.models import cost
from maxim import models, published, table


def test_parameters_and_products_of_a_variant():
    parameters, counted = table.count("S-1")
    assert parameters == 6_139_561
    # XLA counts everything: products, and sums and activations of single numbers.
    model = models.create("S-1", num_supervision_scales=3)
    image = jax.ShapeDtypeStruct((1, 256, 256, 3), np.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), image)
    everything = jax.jit(model.apply).lower(variables, image).cost_analysis()["flops"]
    assert 0.95 < 2 * counted.multiply_adds / everything < 1
    # The official formulation of the same network; ours needs fewer.
    assert everything / 1e9 < 93.601


def test_the_published_sizes_are_the_counted_ones():
    # The official code's; the paper cuts the digits off.
    sizes = {"S-2": (14_176_178, 216.419), "S-3": (22_212_795, 339.235)}
    for variant, (parameters, gflops) in sizes.items():
        assert published.SIZES[variant] == (parameters // 10**5 / 10, int(gflops))


@pytest.fixture
def counted(monkeypatch):
    """The table without the time that counting takes."""
    monkeypatch.setattr(table, "count", lambda v: (1234567, cost.Cost(2_000_000_000)))


def test_markdown_and_csv_say_the_same(counted, tmp_path):
    text = table.run(str(tmp_path / "new"))
    names = ("variants.md", "scores.md", "variants.csv", "scores.csv")
    texts = [(tmp_path / "new" / name).read_text() for name in names]
    assert text + "\n" == "\n".join(texts)
    for marked, plain in zip(texts[:2], texts[2:], strict=True):
        lines = marked.splitlines()
        assert len({len(line) for line in lines}) == 1
        cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
        del cells[1]
        read = list(csv.reader(io.StringIO(plain)))
        assert [["" if c == "-" else c for c in row] for row in cells] == [
            [f"{int(c):,}" if c.isdecimal() else c for c in row] for row in read
        ]
    variants, scores = (list(csv.DictReader(io.StringIO(t))) for t in texts[2:])
    assert [row["variant"] for row in variants] == list(published.VARIANTS)
    assert variants[1] == {
        "variant": "S-2",
        "parameters": "1234567",
        "published M": "14.1",
        "GFLOP of products": "4.0",
        "published GFLOP": "216",
    }
    assert variants[0]["published M"] == ""
    assert len(scores) == 21
    hide = next(row for row in scores if row["test set"] == "HIDE")
    assert hide == {
        "checkpoint": "Deblurring/GoPro",
        "variant": "S-3",
        "test set": "HIDE",
        "channels": "rgb",
        "PSNR": "32.83",
        "SSIM": "0.956",
        "source": "official README",
        "ours": "not run",
    }


def test_our_results_name_their_weights():
    ours = [
        published.Result("Deblurring/GoPro", "HIDE", weights, psnr, 0.8634, "python")
        for weights, psnr in (("official", 23.431), ("own", 22.0))
    ]
    rows = {(row[0], row[2]): row[-1] for row in table.score_rows(ours)}
    assert rows.pop(("Deblurring/GoPro", "HIDE")) == (
        "23.43 / 0.863 (official weights); 22.00 / 0.863 (own weights)"
    )
    assert set(rows.values()) == {"not run"}
