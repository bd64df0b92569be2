"""Length processes are what they say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from gpu_timing_assets.config.workload import AnyLengths
from gpu_timing_assets.workload.random_streams import RandomStream

PROCESS: TypeAdapter[Any] = TypeAdapter(AnyLengths)


def lengths(count: int = 20_000, **process: Any) -> "np.ndarray[Any, np.dtype[np.int64]]":
    # only a trace is read from the context
    return PROCESS.validate_python(process).draw(RandomStream(1, "lengths"), count, None)


bounds = st.tuples(st.integers(1, 5_000), st.integers(0, 5_000)).map(
    lambda pair: {"minimum": pair[0], "maximum": sum(pair)}
)
processes = st.builds(
    lambda limits, process: {**limits, **process},
    bounds,
    st.one_of(
        st.just({"kind": "uniform"}),
        st.fixed_dictionaries(
            {
                "kind": st.just("lognormal"),
                "median": st.floats(min_value=0.1, max_value=1e6),
                "sigma": st.floats(min_value=0, max_value=8),
            }
        ),
        st.fixed_dictionaries(
            {"kind": st.just("zipf"), "exponent": st.floats(min_value=0.1, max_value=10)}
        ),
    ),
)


@settings(max_examples=150, deadline=None)
@given(processes, st.integers(1, 200))
def test_lengths_are_within_their_bounds(process: dict[str, Any], count: int) -> None:
    drawn = PROCESS.validate_python(process).draw(RandomStream(7, "lengths"), count, None)
    assert len(drawn) == count
    assert drawn.dtype == np.int64
    assert process["minimum"] <= drawn.min()
    assert drawn.max() <= process["maximum"]


def test_fixed_lengths_are_all_the_same() -> None:
    assert set(lengths(kind="fixed", tokens=17)) == {17}


def test_uniform_lengths_reach_both_bounds_equally_often() -> None:
    counts = np.bincount(lengths(kind="uniform", minimum=3, maximum=12))[3:]
    assert len(counts) == 10
    assert stats.chisquare(counts).pvalue > 0.01


def test_lognormal_lengths_have_their_median_and_spread() -> None:
    drawn = np.log(lengths(kind="lognormal", median=1_000, sigma=0.5, maximum=1_000_000))
    assert np.exp(np.median(drawn)) == pytest.approx(1_000, rel=0.02)
    assert drawn.std() == pytest.approx(0.5, rel=0.02)
    assert stats.kstest(drawn, stats.norm(np.log(1_000), 0.5).cdf).pvalue > 0.01


def test_zipf_lengths_have_their_probabilities() -> None:
    values = np.arange(1, 101)
    counts = np.bincount(lengths(kind="zipf", exponent=1.1, maximum=100), minlength=101)[1:]
    weights = values**-1.1
    assert stats.chisquare(counts, weights / weights.sum() * counts.sum()).pvalue > 0.01


def test_empirical_lengths_are_those_observed_as_often_as_observed(
    context_of: Callable[..., Any], tmp_path: Path
) -> None:
    observed = tmp_path / "observed.csv"
    observed.write_text("num_prefill_tokens,num_decode_tokens\n10,1\n10,1\n99,1\n")
    context = context_of(
        decode_lengths={
            "kind": "empirical",
            "trace": {"format": "plain", "path": str(observed)},
            "column": "num_prefill_tokens",
            "maximum": 50,
        }
    )
    drawn = context.preset.decode_lengths.draw(RandomStream(1, "lengths"), 9_000, context)
    assert set(drawn) == {10, 50}
    assert (drawn == 10).mean() == pytest.approx(2 / 3, abs=0.02)


@pytest.mark.parametrize(
    "process",
    [
        {"kind": "fixed", "tokens": 0},
        {"kind": "uniform", "minimum": 9, "maximum": 8},
        {"kind": "uniform", "minimum": 0, "maximum": 8},
        {"kind": "lognormal", "median": 0, "sigma": 1, "maximum": 8},
        {"kind": "zipf", "exponent": 0, "maximum": 8},
    ],
)
def test_lengths_that_cannot_be_are_refused(process: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PROCESS.validate_python(process)
