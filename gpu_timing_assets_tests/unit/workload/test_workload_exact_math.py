"""The functions made of basic operations agree with the math library to its last digits."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_timing_assets.workload.exact_math import exp, log, normal_quantile


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_log_is_the_natural_logarithm(x: float) -> None:
    assert float(log(x)) == pytest.approx(math.log(x), rel=1e-15, abs=1e-16)


@given(st.floats(min_value=-600, max_value=600))
def test_exp_is_the_exponential(x: float) -> None:
    assert float(exp(x)) == pytest.approx(math.exp(x), rel=1e-15)


@given(st.floats(min_value=1e-16, max_value=1 - 1e-16))
def test_normal_quantile_is_the_inverse_of_the_normal_distribution(probability: float) -> None:
    assert float(normal_quantile(np.array([probability]))[0]) == pytest.approx(
        NormalDist().inv_cdf(probability), rel=1e-14, abs=1e-16
    )


def test_normal_quantile_does_not_jump_where_its_approximations_meet() -> None:
    for seam in (0.5 - 0.425, 0.5 + 0.425, math.exp(-25.0)):
        below, above = normal_quantile(np.array([np.nextafter(seam, 0), np.nextafter(seam, 1)]))
        assert 0 <= above - below < 1e-12
