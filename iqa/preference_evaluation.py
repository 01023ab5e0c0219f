"""How well metrics tell which of two versions people prefer: tables and pictures.

All scores are such that higher is better. What has no probabilities of its own gets
them by one slope, fitted to half of the references and used on the other half, both
ways round. Intervals are of 95 %, of references drawn with replacement.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
from absl import logging

from common import atomic, tables
from common.data import decode
from common.errors import DataError
from common.logging import plots
from common.metrics import correlation, preference
from iqa import comparisons, pairs, preference_rivals, rank_smoothing
from iqa.pairs import Pair
from iqa.preference_rivals import QUALITY, check

__all__ = ["Judged", "check", "fit_slope", "judge", "write"]

OURS = "this metric"
# |q1 - q2|, our choice: neighbours, different, far apart.
_MARGINS = preference.MARGINS
QUALITY_GAPS = ((0, 10), (10, 30), (30, 100))
_BINS = 10  # of the probabilities that are drawn
_SERIES = 6  # as many lines as a picture has
# Penalty on the squares of Bradley-Terry scores: finite for what never lost, and too
# small to change an order.
_L2 = 0.01


@dataclasses.dataclass(frozen=True)
class Judged:
    """Pairs with what people and metrics say of them.

    Attributes:
      compared: the pairs.
      scores: name of a metric to `[N, 2]`, NaN where it has none.
      probability: of `OURS`, that the second is preferred, `[N]`.
    """

    compared: Sequence[Pair]
    scores: Mapping[str, np.ndarray]
    probability: np.ndarray

    @functools.cached_property
    def share(self) -> np.ndarray:
        """Share of people who prefer the second, `[N]`."""
        return np.array([pair.preference for pair in self.compared])

    @functools.cached_property
    def keys(self) -> np.ndarray:
        """Names of the references, `[N]`."""
        return np.array([pair.key for pair in self.compared])

    @functools.cached_property
    def gaps(self) -> dict[str, np.ndarray]:
        """Score of the second less that of the first, of metrics that have all."""
        found = {name: value[:, 1] - value[:, 0] for name, value in self.scores.items()}
        known = {name: gap for name, gap in found.items() if np.isfinite(gap).all()}
        for name in found.keys() - known.keys():
            logging.info("%s is not known of every version: left out", name)
        return known

    @functools.cached_property
    def quality_gap(self) -> np.ndarray:
        """How far the quality factors are apart, `[N]`; NaN where not known."""
        scores = self.scores.get(QUALITY, np.full((len(self.share), 2), np.nan))
        return np.abs(scores[:, 1] - scores[:, 0])

    @functools.cached_property
    def people(self) -> dict[str, dict[str, float]]:
        """What people say of each version, by reference and name.

        Their mean score, or else the Bradley-Terry score of the votes on all pairs of
        that reference.
        """
        rows: dict[str, list[Pair]] = {}
        for pair in self.compared:
            rows.setdefault(pair.key, []).append(pair)
        return {key: _worth(of_one) for key, of_one in rows.items()}

    def of_versions(self, name: str) -> dict[str, dict[str, float]]:
        """Returns the scores of a metric, by reference and version."""
        found: dict[str, dict[str, float]] = {}
        for pair, scores in zip(self.compared, self.scores[name], strict=True):
            place = found.setdefault(pair.key, {})
            place[pair.first.name], place[pair.second.name] = map(float, scores)
        return found


def _worth(compared: Sequence[Pair]) -> dict[str, float]:
    versions = {v.name: v for pair in compared for v in (pair.first, pair.second)}
    opinions = {name: v.opinion for name, v in versions.items()}
    known = {name: value for name, value in opinions.items() if value is not None}
    if len(known) == len(versions) or len(versions) < 3:
        return known
    place = {name: number for number, name in enumerate(versions)}
    votes = comparisons.from_probabilities(
        [place[pair.first.name] for pair in compared],
        [place[pair.second.name] for pair in compared],
        [1 - pair.preference for pair in compared],
        [pair.votes or 1 for pair in compared],
    )
    scores = _bradley_terry(
        *(votes.num_items, votes.first, votes.second),
        *(votes.first_wins, votes.second_wins),
    )
    return dict(zip(versions, np.asarray(scores, np.float64).tolist(), strict=True))


@functools.cache
def _jitted() -> Any:
    import jax

    fit = functools.partial(rank_smoothing.bradley_terry, l2=_L2, method="newton")
    return jax.jit(fit, static_argnums=0)


def _bradley_terry(*arguments: Any) -> Any:
    """Fits scores; compiled once for each number of versions and pairs."""
    return _jitted()(*arguments)


def judge(
    outputs: Mapping[str, np.ndarray],
    compared: Sequence[Pair],
    options: ml_collections.ConfigDict,
) -> Judged:
    """Scores the pairs of an evaluation by all rivals.

    Args:
      outputs: of the evaluation: `id`, `first`, `second`, `probability`.
      compared: all pairs, by id.
      options: the `evaluation` section of the config.
    """
    chosen = [compared[int(number)] for number in outputs["id"]]
    ours = np.stack([outputs["first"], outputs["second"]], 1).astype(np.float64)
    scores = {OURS: ours, **preference_rivals.score(chosen, options)}
    return Judged(chosen, scores, np.asarray(outputs["probability"], np.float64))


def write(
    outputs: Mapping[str, np.ndarray],
    source: Any,
    options: ml_collections.ConfigDict,
    folder: Path,
) -> list[tuple[str, Path]]:
    """Writes tables, scores of all pairs, pictures, and an example to try.

    Args:
      outputs: of an evaluation, see `judge`.
      source: the pairs, a `PairSource`.
      options: the `evaluation` section of the config.
      folder: where the files go.

    Returns:
      Captions and paths of the pictures.
    """
    judged = judge(outputs, source.pairs, options)
    found = {
        "preference": preference_table(judged),
        "preference_bins": bins_table(judged),
        "calibration": calibration_table(judged),
        "pairs": pairs_table(judged),
    }
    if all(pair.first.opinion is not None for pair in judged.compared):
        found["opinions"] = opinions_table(judged)
    tables.write(found, str(folder))
    logging.info("\n%s", tables.markdown(found["preference"]))
    _write_example(judged, folder / "examples")
    return _draw(judged, folder)


def preference_table(judged: Judged) -> tables.Table:
    """Returns a row for each metric, the ceiling and chance."""
    share = judged.share
    ceiling = preference.two_alternative_ceiling(share)
    rows = [_row(name, judged, ceiling) for name in judged.gaps]
    entropy = preference.label_entropy(share)
    best = ("the majority itself", f"{ceiling:.4f}", "", "1.000", "", "1.000")
    return [
        (
            *("metric", "2AFC", "95 %", "of ceiling", "less quality rule, 95 %"),
            *("majority met", "cross-entropy", "Brier", "calibration error"),
            *("SRCC", "PLCC", "SRCC per reference"),
        ),
        *rows,
        (*best, f"{entropy:.4f}", "0.0000", "0.000", "", "", ""),
        ("chance", "0.5000", "", f"{0.5 / ceiling:.3f}", *[""] * 8),
    ]


def _row(name: str, judged: Judged, ceiling: float) -> tuple[str, ...]:
    gap, share = judged.gaps[name], judged.share
    score = preference.two_alternative_score(gap, share)
    own = judged.probability if name == OURS else None
    sure = cross_fitted(gap, share, judged.keys) if own is None else own
    known = not np.isnan(sure).any()
    return (
        name,
        f"{score:.4f}",
        _interval(preference.two_alternative_score, [gap, share], judged.keys),
        f"{score / ceiling:.3f}",
        _less_rule(name, judged),
        f"{preference.majority_accuracy(gap, share):.3f}",
        f"{preference.cross_entropy(sure, share):.4f}" if known else "",
        f"{preference.brier(sure, share):.4f}" if known else "",
        f"{preference.expected_calibration_error(sure, share):.3f}" if known else "",
        _shown(correlation.srcc(gap, share)),
        _shown(correlation.plcc(gap, share)),
        _shown(per_reference(judged, name)),
    )


def _interval(statistic: Any, arrays: Sequence[np.ndarray], keys: np.ndarray) -> str:
    low, high = correlation.cluster_bootstrap(statistic, arrays, keys)
    return f"{low:.4f} to {high:.4f}"


def _less_rule(name: str, judged: Judged) -> str:
    """Returns the interval of what a metric has more than the quality rule, paired."""
    if QUALITY not in judged.gaps or name == QUALITY:
        return ""

    def more(gap: np.ndarray, rule: np.ndarray, share: np.ndarray) -> float:
        scores = (preference.two_alternative_score(g, share) for g in (gap, rule))
        return next(scores) - next(scores)

    arrays = [judged.gaps[name], judged.gaps[QUALITY], judged.share]
    low, high = correlation.cluster_bootstrap(more, arrays, judged.keys)
    return f"{low:+.4f} to {high:+.4f}"


def fit_slope(gap: np.ndarray, share: np.ndarray) -> float:
    """Returns the factor that makes `sigmoid(factor * gap)` fit the shares best.

    Args:
      gap: `[N]`.
      share: `[N]`.

    Returns:
      At least 0, and finite though the gaps may tell all pairs apart; NaN where all
      gaps are 0.
    """
    from scipy import optimize

    scale = float(np.sqrt(np.mean(np.square(gap))))
    if not scale:
        return math.nan

    def loss(slope: float) -> float:
        z = slope * gap / scale
        return float(np.mean(np.logaddexp(0, z) - share * z))

    # Convex in the slope; beyond 100 standard deviations all is certain.
    return float(optimize.minimize_scalar(loss, bounds=(0, 100)).x) / scale


def cross_fitted(gap: np.ndarray, share: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Returns probabilities `[N]` by slopes that were fitted to other references.

    NaN with fewer than two references.
    """
    _, numbers = np.unique(keys, return_inverse=True)
    half, sure = numbers % 2 == 0, np.full(len(gap), np.nan)
    for used in (half, ~half):
        if used.any() and not used.all():
            slope = fit_slope(gap[used], share[used])
            z = slope * gap[~used]
            sure[~used] = np.exp(-np.logaddexp(0, -z))
    return sure


def per_reference(judged: Judged, name: str) -> float:
    """Returns the mean rank correlation with what people say of one reference.

    NaN when no reference has three versions or more.
    """
    found, scores = [], judged.of_versions(name)
    for key, people in judged.people.items():
        if len(people) >= 3:
            theirs = [scores[key][version] for version in people]
            found.append(correlation.srcc(theirs, [*people.values()]))
    known = [value for value in found if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def bins_table(judged: Judged) -> tables.Table:
    """Returns how often the majority is met, by how clear it is and by the qualities.

    The last columns are of pairs whose quality factors are so far apart.
    """
    margins = [f"share {0.5 + low:g} to {0.5 + high:g}" for low, high in _MARGINS]
    factors = [f"{low} < |q1 - q2| <= {high}" for low, high in QUALITY_GAPS]
    decided = judged.share != 0.5
    distance = np.abs(judged.share - 0.5)
    chosen = [(distance > low) & (distance <= high) for low, high in _MARGINS]
    chosen += [
        decided & (judged.quality_gap > low) & (judged.quality_gap <= high)
        for low, high in QUALITY_GAPS
    ]
    counts = ("pairs with a majority", *(str(int(mask.sum())) for mask in chosen))
    rows = [
        (
            name,
            *(
                _shown(preference.majority_accuracy(gap[mask], judged.share[mask]))
                if mask.any()
                else ""
                for mask in chosen
            ),
        )
        for name, gap in judged.gaps.items()
    ]
    return [("metric", *margins, *factors), counts, *rows]


def calibration_table(judged: Judged) -> tables.Table:
    """Returns mean probability and mean share of pairs with similar probabilities."""
    rows = [
        (f"{low:.1f} to {high:.1f}", str(count), f"{mean:.3f}", f"{share:.3f}")
        for low, high, count, mean, share in _calibration(judged)
    ]
    return [("probability", "pairs", "its mean", "share who prefer the second"), *rows]


def _calibration(judged: Judged) -> list[tuple[float, float, int, float, float]]:
    bins = np.minimum((judged.probability * _BINS).astype(int), _BINS - 1)
    found = []
    for number in np.unique(bins):
        mask = bins == number
        mean, share = judged.probability[mask].mean(), judged.share[mask].mean()
        low = int(number) / _BINS
        found.append((low, low + 1 / _BINS, int(mask.sum()), float(mean), float(share)))
    return found


def opinions_table(judged: Judged) -> tables.Table:
    """Returns correlations with mean scores, over all versions of all references.

    Pearson's after a logistic function of four parameters, as is usual for these data.
    """
    rows = []
    for name in judged.gaps:
        theirs, people, scores = [], [], judged.of_versions(name)
        for key, rated in judged.people.items():
            theirs += [scores[key][version] for version in rated]
            people += rated.values()
        found = (
            correlation.srcc(theirs, people),
            correlation.krcc(theirs, people),
            _logistic_plcc(theirs, people),
        )
        rows.append((name, *map(_shown, found), str(len(people))))
    return [("metric", "SRCC", "KRCC", "PLCC", "versions"), *rows]


def _logistic_plcc(scores: Sequence[float], people: Sequence[float]) -> float:
    """Returns NaN where no logistic function comes closest, as to a straight line."""
    try:
        return correlation.plcc(scores, people, logistic=True)
    except DataError:
        return math.nan


def pairs_table(judged: Judged) -> tables.Table:
    """Returns a row for each pair: what was compared, and all scores."""
    header = ["reference", "first", "second", "share for the second"]
    for name in judged.scores:
        header += [f"{name}: first", f"{name}: second"]
    rows = []
    for row, pair in enumerate(judged.compared):
        values = np.concatenate([scores[row] for scores in judged.scores.values()])
        cells = ["" if math.isnan(value) else f"{value:.6g}" for value in values]
        names = pair.key, pair.first.name, pair.second.name
        rows.append([*names, f"{pair.preference:.6g}", *cells])
    return [header, *rows]


def _draw(judged: Judged, folder: Path) -> list[tuple[str, Path]]:
    """Draws the calibration, and where metrics and rules differ."""
    found = _calibration(judged)
    middle = {"as it should be": ([0, 1], [0, 1])}
    ours = {OURS: ([row[3] for row in found], [row[4] for row in found])}
    calibration = plots.lines(
        {"": ours | middle},
        folder / "calibration.png",
        x_label="probability that people prefer the second",
        y_label="share of people who do",
    )
    captions = [("Probabilities and shares of the evaluation pairs", calibration)]
    if np.isfinite(judged.quality_gap).all():
        captions.append(
            (
                "How often the majority is met, by how far quality factors are apart",
                _draw_factors(judged, folder / "quality_gaps.png"),
            )
        )
    return captions


def _draw_factors(judged: Judged, path: Path) -> Path:
    edges = np.unique(np.quantile(judged.quality_gap, np.linspace(0, 1, 7)))
    number = np.digitize(judged.quality_gap, edges[1:-1])
    chosen = [(number == k) & (judged.share != 0.5) for k in range(len(edges) - 1)]
    chosen = [mask for mask in chosen if mask.any()]
    places = [judged.quality_gap[mask].mean() for mask in chosen]
    series = {
        name: (
            places,
            [preference.majority_accuracy(gap[m], judged.share[m]) for m in chosen],
        )
        for name, gap in list(judged.gaps.items())[:_SERIES]
    }
    return plots.lines(
        {"": series},
        path,
        x_label="|q1 - q2|, difference of quality factors",
        y_label="share of majorities met",
    )


def _write_example(judged: Judged, folder: Path) -> None:
    """Writes a reference and two versions, to try the metric on."""
    clear = int(np.argmax(np.abs(judged.share - 0.5)))
    pair = judged.compared[clear]
    reference = decode.decode(pair.reference)
    shown = {
        "0_reference": reference,
        "1_first": pairs.picture(pair.first, reference),
        "2_second": pairs.picture(pair.second, reference),
    }
    for name, image in shown.items():
        with atomic.replacing(folder / f"{name}.png") as temporary:
            image.save(temporary, format="PNG")


def _shown(value: float, digits: int = 3) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"
