"""Times are drawn from the whole of what was measured."""

import numpy as np

from gpu_timing_assets.engine_loop.fitted_time import STRATA, DrawnRatio, DrawnTime, FittedTime


def test_a_block_of_draws_has_one_from_each_part_of_the_sample() -> None:
    per_part = 16
    drawn = DrawnRatio(np.arange(STRATA * per_part), np.random.default_rng(0))
    for _ in range(3):
        parts = sorted(int(drawn()) // per_part for _ in range(STRATA))
        assert parts == list(range(STRATA))


def test_drawn_times_have_the_mean_of_the_measured_ones() -> None:
    ratios = np.geomspace(0.5, 4.0, 1024)
    fitted = FittedTime(("a", "b"), (1.0, 0.5, 2.0), ratios, num_rows=1024)
    drawn = DrawnTime(fitted, np.random.default_rng(0))
    mean_s = np.mean([drawn(4, 1) for _ in range(20 * STRATA)])
    np.testing.assert_allclose(mean_s, fitted(4, 1) * ratios.mean() / 1e3, rtol=0.01)
