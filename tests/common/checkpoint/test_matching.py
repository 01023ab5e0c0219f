"""Strict matching of loaded names with a model's variables."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from common.checkpoint import matching
from common.errors import ConfigError


def _target():
    def leaf(*shape, dtype=jnp.float32):
        return jax.ShapeDtypeStruct(shape, dtype)

    return {
        "params": {
            "body": {"kernel": leaf(2, 3), "bias": leaf(3, dtype=jnp.bfloat16)},
            "head": {"kernel": leaf(3, 10)},
        },
        "batch_stats": {},
    }


def _loaded():
    return {
        "params/body/kernel": np.arange(6.0).reshape(2, 3),
        "params/body/bias": np.arange(3.0),
        "params/head/kernel": np.ones((3, 10), np.float32),
    }


def test_match_fills_an_abstract_tree_and_casts():
    variables, report = matching.match(_target(), _loaded())
    report.raise_if_any()
    assert str(report) == "every name and shape fits"
    assert variables["batch_stats"] == {}
    assert variables["params"]["body"]["kernel"].dtype == np.float32
    assert variables["params"]["body"]["bias"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(variables["params"]["body"]["bias"], [0, 1, 2])


def test_match_reports_both_ways():
    loaded = _loaded()
    loaded["params/extra"] = loaded.pop("params/body/bias")
    loaded["params/head/kernel"] = np.ones((3, 5), np.float32)
    target = _target()
    variables, report = matching.match(target, loaded)
    assert report.missing == {"params/body/bias": "bfloat16[3]"}
    assert report.unused == {"params/extra": "float64[3]"}
    assert report.mismatched == {
        "params/head/kernel": "float32[3, 10], the file has float32[3, 5]"
    }
    assert variables["params"]["head"]["kernel"] is target["params"]["head"]["kernel"]
    with pytest.raises(ConfigError) as caught:
        report.raise_if_any()
    for part in ("1 missing: params/body/bias", "1 unused", "1 mismatched", "[3, 5]"):
        assert part in str(caught.value)


def test_report_lists_five_names_and_the_count():
    target = {"params": {f"w{i}": np.ones(2) for i in range(9)}}
    _, report = matching.match(target, {})
    assert "9 missing: params/w0 float64[2]" in str(report)
    assert "params/w4" in str(report)
    assert "params/w5" not in str(report)
    assert "and 4 more" in str(report)


def test_ignore_keeps_the_leaf_and_says_so():
    loaded = _loaded() | {"params/head/kernel": np.ones((3, 5), np.float32)}
    del loaded["params/body/bias"]
    target = _target()
    variables, report = matching.match(target, loaded, ignore=["head/", "bias$"])
    report.raise_if_any()
    assert set(report.kept) == {"params/head/kernel", "params/body/bias"}
    assert "2 kept" in str(report)
    assert variables["params"]["head"] == target["params"]["head"]


def test_reshape_only_where_allowed_and_only_same_size():
    loaded = _loaded() | {"params/body/kernel": np.arange(6.0).reshape(1, 1, 2, 3)}
    assert matching.match(_target(), loaded)[1].mismatched
    variables, report = matching.match(_target(), loaded, allow_reshape=["body/kernel"])
    report.raise_if_any()
    assert list(report.reshaped) == ["params/body/kernel"]
    np.testing.assert_array_equal(
        variables["params"]["body"]["kernel"], [[0, 1, 2], [3, 4, 5]]
    )
    loaded["params/body/kernel"] = np.arange(7.0)
    report = matching.match(_target(), loaded, allow_reshape=["body/kernel"])[1]
    assert list(report.mismatched) == ["params/body/kernel"]


def test_numbers_of_another_kind_do_not_match():
    loaded = _loaded() | {"params/body/bias": np.arange(3)}
    assert list(matching.match(_target(), loaded)[1].mismatched) == ["params/body/bias"]


def test_unused_or_invalid_pattern_is_an_error():
    with pytest.raises(ConfigError, match="'haed' fits no name; closest: head"):
        matching.match(_target(), _loaded(), ignore=["haed"])
    with pytest.raises(ConfigError, match="invalid"):
        matching.match(_target(), _loaded(), ignore=["("])
