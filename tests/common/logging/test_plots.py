"""Pictures are drawn for every kind of run, whole and without global state."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from common.logging import plots


def _pixels(path):
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def _has_color(path, color, least=20):
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    return (np.abs(_pixels(path).astype(int) - rgb).max(-1) < 12).sum() >= least


def _records(steps=40):
    for step in range(1, steps + 1):
        yield {
            "step": step,
            "kind": "train",
            "time": 0.0,
            "loss": 100.0 / step if step % 7 else float("nan"),
            "grad_norm": 1.0,
            "learning_rate": 0.1,
            "images_per_second": 50.0,
        }
        if step % 10 == 0:
            yield {"step": step, "kind": "eval", "time": 0.0, "loss": 2.0, "psnr": 30.0}


def test_panels_are_loss_metrics_rate_and_speed():
    assert plots._panels(list(_records())) == [
        "loss",
        "psnr",
        "learning_rate",
        "images_per_second",
    ]


def test_curves_draw_train_and_eval(tmp_path):
    path = plots.curves(list(_records()), tmp_path / "new" / "curves.png")
    assert path == tmp_path / "new" / "curves.png"
    assert _has_color(path, plots.BLUE)
    assert _has_color(path, plots.RED)
    assert [p.name for p in path.parent.iterdir()] == ["curves.png"]


@pytest.mark.parametrize(
    "records",
    [
        [],
        [{"step": 0, "kind": "train", "loss": 1.0}],
        [{"step": 5, "kind": "eval", "loss": float("nan"), "psnr": float("inf")}],
        [{"step": 1, "kind": "train", "loss": -1.0}, {"step": 2, "loss": 0.0}],
    ],
)
def test_curves_survive_odd_records(tmp_path, records):
    assert _pixels(plots.curves(records, tmp_path / "c.png")).size


def test_smoothing_keeps_a_line_and_bridges_gaps():
    line = np.linspace(0, 1, 200)
    np.testing.assert_allclose(plots._smoothed(line), line, atol=1e-12)
    line[100] = np.nan
    assert np.isfinite(plots._smoothed(line)).all()


@pytest.mark.parametrize("count", [2, 15, 16, 50, 51])
def test_confusion_matrix_for_any_number_of_classes(tmp_path, count):
    matrix = np.eye(count, dtype=int) * 9 + np.eye(count, k=1, dtype=int)
    names = [f"class $ {i} <b>" for i in range(count)]
    pixels = _pixels(plots.confusion_matrix(matrix, names, tmp_path / "c.png"))
    assert (pixels != 255).any()
    assert min(pixels.shape[:2]) > 300


def test_counts_are_printed_only_for_few_classes():
    texts = {}
    for count in (3, 30):
        matrix = np.eye(count, dtype=int) * 7
        figure = plots._matrix(matrix, matrix / 7, [str(i) for i in range(count)])
        texts[count] = [text.get_text() for text in figure.axes[0].texts]
    assert texts == {3: ["7", "7", "7"], 30: []}


def test_most_confused_pairs_come_first():
    matrix = np.eye(60, dtype=int) * 10
    matrix[4, 9], matrix[9, 4] = 8, 3
    shares = matrix / matrix.sum(1, keepdims=True)
    figure = plots._pairs(matrix, shares, [f"n{i}" for i in range(60)])
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["n4 → n9", "n9 → n4"]


def test_perfect_and_empty_matrices_are_drawn(tmp_path):
    for matrix in (np.eye(60), np.zeros((60, 60)), np.zeros((3, 3))):
        names = [str(i) for i in range(len(matrix))]
        assert plots.confusion_matrix(matrix, names, tmp_path / "c.png").is_file()


def test_matrix_of_wrong_shape_is_refused(tmp_path):
    with pytest.raises(ValueError, match="3 class names"):
        plots.confusion_matrix(np.eye(2), ["a", "b", "c"], tmp_path / "c.png")


def test_grid_marks_right_and_wrong(tmp_path):
    images = [np.zeros((8, 8), np.uint8), np.ones((40, 20, 3)), np.ones((9, 9, 1))]
    captions = ["3 → 8 (91 %)", "$", "ok"]
    path = plots.image_grid(images, captions, tmp_path / "g.png", ["green", "red", "k"])
    assert _has_color(path, plots.GREEN)
    assert _has_color(path, plots.RED)
    with pytest.raises(ValueError, match="3 images, 1 captions"):
        plots.image_grid(images, ["a"], tmp_path / "h.png")


_LADDER = ([0.2, 0.5, 1, 2, 5], [24, 28, 31, 34, 41])
_FLAT = ([0.6, 1.2, 3], [29, 33, 39])
_LABELS = {"x_label": "bits per pixel", "y_label": "PSNR, dB"}


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws lines and returns the figure instead of writing it."""
    monkeypatch.setattr(plots, "save", lambda figure, path: figure)

    def draw(panels, **options):
        figure = plots.lines(panels, tmp_path / "l.png", **_LABELS, **options)
        figure.canvas.draw()
        return figure

    return draw


def _ticks(axes):
    low, high = axes.get_xlim()
    labels = axes.get_xticklabels()
    return [x.get_text() for x in labels if low <= x.get_position()[0] <= high]


def test_lines_are_written_with_their_colours(tmp_path):
    panel = {"ours": _FLAT, "Annex K": _LADDER}
    path = plots.lines({"a": panel}, tmp_path / "new" / "l.png", **_LABELS, log_x=True)
    assert path == tmp_path / "new" / "l.png"
    assert _has_color(path, plots.BLUE, 200)
    assert _has_color(path, plots.RED, 200)
    assert not _has_color(path, plots.ORANGE, 1)
    assert [p.name for p in path.parent.iterdir()] == ["l.png"]


def test_a_series_looks_alike_in_all_panels(drawn):
    panels = {"one": {"ours": _FLAT, "K": _LADDER}, "t$w$o": {"K": _LADDER}}
    figure = drawn(panels, reference=("all of $it", 50.0))
    first, second = figure.axes
    ours, k, line = first.lines
    np.testing.assert_array_equal(k.get_xydata().T, _LADDER)
    assert k.get_color() == second.lines[0].get_color() != ours.get_color()
    assert k.get_marker() == second.lines[0].get_marker() != ours.get_marker()
    assert ours.get_zorder() > k.get_zorder() > line.get_zorder()
    (legend,) = figure.legends
    colors = [line.get_color() for line in legend.get_lines()]
    assert [text.get_text() for text in legend.get_texts()] == ["ours", "K"]
    assert colors == [ours.get_color(), k.get_color()]
    texts = [*legend.get_texts(), first.texts[0], first._left_title]
    assert not any(text.get_parse_math() for text in texts)
    for axes, title in zip(figure.axes, panels, strict=True):
        assert axes.get_title(loc="left") == title
        assert axes.get_xlabel() == "bits per pixel"
        assert list(axes.lines[-1].get_ydata()) == [50, 50]
        assert axes.get_ylim()[1] > 50
        assert [text.get_text() for text in axes.texts] == ["all of $it"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["PSNR, dB", ""]


def test_a_log_scale_has_plain_numbers_in_any_range(drawn):
    figure = drawn({"": {"K": _LADDER}}, log_x=True)
    assert figure.axes[0].get_xscale() == "log"
    assert _ticks(figure.axes[0]) == ["0.2", "0.5", "1", "2", "5"]
    narrow = drawn({"": {"K": ([0.31, 0.38, 0.46], [1, 2, 3])}}, log_x=True)
    assert {"0.35", "0.4", "0.45"} <= set(_ticks(narrow.axes[0]))
    assert drawn({"": {"K": _LADDER}}).axes[0].get_xscale() == "linear"


def test_points_that_cannot_be_drawn_leave_a_gap(drawn):
    x, y = [-1, 0, 1, 2, 3, np.inf], [1, 2, 3, np.inf, np.nan, 4]
    (line,) = drawn({"": {"K": (x, y)}}, log_x=True).axes[0].lines
    assert list(np.flatnonzero(np.isfinite(line.get_xdata()))) == [2]
    (line,) = drawn({"": {"K": (x, y)}}).axes[0].lines
    assert list(np.flatnonzero(np.isfinite(line.get_xdata()))) == [0, 1, 2]
    assert drawn({"": {"K": ([], [])}, "none": {}}, log_x=True).legends


def test_six_series_are_told_apart_and_more_refused(drawn):
    six = {str(i): _FLAT for i in range(6)}
    lines = drawn({"": six}).axes[0].lines
    assert len({line.get_color() for line in lines}) == 6
    assert len({line.get_marker() for line in lines}) == 6
    for panels, count in (({"": six, "b": {"6": _FLAT}}, 7), ({"": {}}, 0), ({}, 0)):
        with pytest.raises(ValueError, match=f"{count} series, from 1 to 6"):
            drawn(panels)
    with pytest.raises(ValueError, match=r"series 'K': x \(2,\) and y \(3,\)"):
        drawn({"": {"K": ([1, 2], [1, 2, 3])}})


def test_panels_are_three_wide_and_not_without_end(drawn):
    figure = drawn({str(i): {"K": _FLAT} for i in range(5)})
    named = [bool(axes.get_xlabel()) for axes in figure.axes]
    assert named == [False, False, True, True, True]
    assert figure.get_supxlabel() == ""
    figure = drawn({str(i): {"K": _FLAT} for i in range(14)})
    assert len(figure.axes) == 12
    assert figure.get_supxlabel() == "and 2 more, not drawn"


def test_a_failed_drawing_keeps_the_old_picture(tmp_path, monkeypatch):
    path = plots.curves([], tmp_path / "c.png")
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError()))
    with pytest.raises(OSError):
        plots.curves(list(_records()), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_imports_stay_light_and_pyplot_stays_out(tmp_path):
    code = (
        "import sys\n"
        "from common.logging import plots, profile, progress, report, writers\n"
        "heavy = {'matplotlib', 'tensorboardX', 'tqdm', 'jax'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        f"plots.curves([{{'step': 1, 'loss': 1.0}}], {str(tmp_path / 'c.png')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
