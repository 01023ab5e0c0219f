"""Counts against the numbers of others, and what the table says of our own."""

import csv
import io

import pytest

from common.errors import DataError
from maxvit import models, published, table
from tests.common import launching

# Matrix products and convolutions in G at 224, 384, 512; counted independently.
EXPECTED = {
    "T": ("5.55", "17.30", "32.87"),
    "S": ("11.58", "35.53", "66.33"),
    "B": ("23.90", "73.17", "136.24"),
    "L": ("43.49", "131.71", "242.36"),
    "XL": ("97.21", "291.51", "530.55"),
}
CASES = [(v, i) for v in published.VARIANTS for i in range(len(published.SIZES))]


@pytest.mark.parametrize(("variant", "index"), CASES)
def test_multiply_adds_and_activations(variant, index):
    size = published.SIZES[index]
    _, counted = table.count(variant, size)
    assert f"{counted.multiply_adds / 1e9:.2f}" == EXPECTED[variant][index]
    # timm finds the bias of every pair by two products with one-hot matrices, rows
    # first; their results are what its number holds beyond ours.
    fields = models.VARIANTS[models.ALIASES[variant]]
    heads = sum(
        2 * depth * channels // fields.head_dim
        for depth, channels in zip(fields.depths, fields.channels, strict=True)
    )
    side = size // 32
    lookups = heads * (side**2 * (2 * side - 1) + side**4)
    theirs = published.TIMM_ACTIVATIONS[variant][index]
    found = (counted.activations + lookups) / 1e6
    assert found == pytest.approx(theirs, abs=0.1)


@pytest.fixture
def counted(monkeypatch):
    """The table without the time that counting takes."""
    monkeypatch.setattr(
        table, "count", lambda v, s: (1234567, table.cost.Cost(2e9, 3e6))
    )


def test_markdown_and_csv_say_the_same(counted, tmp_path):
    text = table.run(str(tmp_path / "new"))
    tables = [
        (tmp_path / "new" / name).read_text() for name in ("table.md", "table.csv")
    ]
    assert text + "\n" == "\n".join(tables)
    lines = tables[0].splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    assert len({len(line) for line in lines}) == 1
    assert set("".join(cells[1])) == {"-", ":"}
    del cells[1]
    read = list(csv.reader(io.StringIO(tables[1])))
    assert len(read) == 16
    plain = [["" if c == "-" else c.replace(",", "") for c in row] for row in cells]
    assert plain == read
    row = dict(zip(read[0], read[12], strict=True))
    assert (row["variant"], row["size"], row["parameters"]) == ("L", "512", "1234567")
    assert (row["published G"], row["JFT to 1k"], row["ours"]) == (
        "245.4", "89.41", "not run",
    )  # fmt: skip


def test_our_results_name_their_training(counted):
    ours = published.Result("B", 384, "in21k", 87.9, "python -m maxvit.main")
    rows = {row[:2]: row[-1] for row in table.rows([ours])}
    assert rows["B", "384"] == "87.90 (21k to 1k)"
    assert set(rows.values()) == {"not run", "87.90 (21k to 1k)"}


HEAD = "variant,image_size,pretraining,top1,command\n"


def test_results_are_read(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(HEAD + 'T,224,none,83.4,"python -m maxvit.main, twice"\n')
    command = "python -m maxvit.main, twice"
    assert published.read_results(path) == [
        published.Result("T", 224, "none", 83.4, command)
    ]
    published.read_results()  # the committed file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line must be variant,image_size"),
        ("variant,top1\n", "the first line must be variant,image_size"),
        (HEAD + "T,224,none,83.4\n", "results.csv:2 is not a result: T,224,none,83.4"),
        (HEAD + "T,224,none,good,x\n", ":2 is not a result"),
        (HEAD + "X,224,none,83.4,x\n", ":2: unknown variant 'X'; did you mean 'XL'?"),
        (HEAD + "T,256,none,83.4,x\n", ":2: unknown image_size '256'"),
        (HEAD + "T,224,in22k,83.4,x\n", "did you mean 'in21k'?"),
        (HEAD + "T,224,none,0.8,x\nT,224,none,834,x\n", ":3: top1=834.0 must be in"),
        (HEAD + "T,224,none,nan,x\n", ":2: top1=nan must be in"),
        (HEAD + "T,224,none,83.4,\n", ":2: command is empty"),
    ],
)
def test_a_mistake_in_the_results_names_its_line(tmp_path, text, message):
    path = tmp_path / "results.csv"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        published.read_results(path)
    assert message in str(error.value)


def test_the_mode_needs_no_config_and_takes_no_image():
    code, out, err = launching.run("--mode=table", "a.png", module="maxvit.main")
    assert (code, out) == (2, "")
    assert err == "error: 'a.png' is given, but --mode is table\n"
