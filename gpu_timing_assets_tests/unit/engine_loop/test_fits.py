"""What the time model finds in a bundle made by formula: the formula. Numbers of real targets are
judged elsewhere.
"""

import dataclasses
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_timing_assets.core.errors import ProfilingBundleError
from gpu_timing_assets.engine_loop.fit.engine import fit_engine_timing, fit_with_report
from gpu_timing_assets.engine_loop.fit.fit_time import fit_time
from gpu_timing_assets.engine_loop.fit.gpu import HIGHEST, LOWEST, PRIOR_STEPS, drawn_to
from gpu_timing_assets.engine_loop.fit.rows import HELD_OUT
from gpu_timing_assets.engine_loop.interpolation import Curve, Surface
from gpu_timing_assets.engine_loop.step import Step
from gpu_timing_assets_tests.unit.simulators.planted_engine import LOOP, Loop, record_bursts
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import (
    KERNEL_MS,
    engine_params,
    kernel_times,
    recorded_bursts,
    target_config,
)


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory):
    return engine_params(target_config(tmp_path_factory.mktemp("unused")))


@pytest.fixture(scope="module")
def timing(params):
    kernels = kernel_times(params)
    recorded = recorded_bursts(params)
    return fit_engine_timing(recorded.steps, recorded.requests, params, kernels)


def decodes(num_requests: int, kv_tokens: int, padded_tokens: int | None = None) -> Step:
    """A step of decoding requests with so much context together."""
    return Step(
        num_decode_requests=num_requests,
        decode_kv_tokens=kv_tokens,
        num_outputs=num_requests,
        padded_tokens=padded_tokens or num_requests,
    )


class TestInterpolation:
    def test_a_curve_goes_through_its_points_and_is_straight_between_them(self) -> None:
        curve = Curve.of(np.array([16, 1, 4]), np.array([16.0, 1.0, 10.0]))
        assert [curve(x) for x in (1, 4, 16)] == [1.0, 10.0, 16.0]
        assert curve(2.5) == pytest.approx(5.5)
        # in the logarithm of the count it would be 13
        assert curve(10) == pytest.approx(13.0)
        assert curve(8) == pytest.approx(12.0)

    def test_beyond_the_last_point_its_slope_goes_on_and_below_the_first_nothing_shrinks(
        self,
    ) -> None:
        curve = Curve.of(np.array([1, 2, 4]), np.array([5.0, 6.0, 10.0]))
        assert curve(6) == pytest.approx(14.0)
        assert curve(0) == 5.0

    def test_a_surface_is_linear_in_both_counts(self) -> None:
        frame = pd.DataFrame(
            [(x, y, x * y + 2.0) for x in (1, 3, 9) for y in (10, 40, 90)], columns=["x", "y", "ms"]
        )
        surface = Surface.of(frame, "x", "y", "ms")
        assert surface(2, 25) == pytest.approx(52.0)
        assert surface(9, 90) == pytest.approx(812.0)


class TestKernels:
    def test_a_step_is_the_sum_of_its_kernels(self, params) -> None:
        layers = params.model_dimensions.num_hidden_layers
        per_layer = (
            sum(
                KERNEL_MS[name]
                for name in (
                    "attn_pre_proj",
                    "qk_norm",
                    "attn_rope",
                    "attn_post_proj",
                    "mlp_up_proj",
                    "mlp_act",
                    "mlp_down_proj",
                )
            )
            + 2 * KERNEL_MS["add_rms_norm"]
        )
        scale = 1 + 4 / 64
        expected = (
            layers * (per_layer * scale + 0.001 + 1e-5 * 4) + KERNEL_MS["embedding"] * scale
        )  # dense, 4 tokens
        expected += layers * (0.004 + 2e-6 * 4 * 100)  # attention of 4 requests of 100 tokens
        expected += 0.05 + 0.02 + 2 * 0.001 * 4  # lm_head and sampler
        assert kernel_times(params).step_ms(decodes(4, 400)) == pytest.approx(expected, rel=0.02)

    def test_padding_costs_what_the_padded_batch_costs(self, params) -> None:
        kernels = kernel_times(params)
        assert kernels.step_ms(decodes(3, 300, padded_tokens=4)) > kernels.step_ms(decodes(3, 300))

    def test_a_step_without_outputs_has_no_head(self, params) -> None:
        kernels = kernel_times(params)
        with_head, without = (
            kernels.step_ms(
                Step(
                    num_prefill_tokens=32,
                    num_prefill_requests=1,
                    prefill_attention_pairs=528,
                    num_outputs=outputs,
                    padded_tokens=32,
                )
            )
            for outputs in (1, 0)
        )
        assert with_head - without == pytest.approx(kernels.head_ms(1))

    def test_more_context_costs_more(self, params) -> None:
        kernels = kernel_times(params)
        assert kernels.decode_attention_ms(4, 2000) > kernels.decode_attention_ms(4, 400)
        assert kernels.prefill_attention_ms(32, 1, 32 * 400 + 528) > kernels.prefill_attention_ms(
            32, 1, 528
        )

    def test_the_chunks_of_a_step_are_attended_to_in_one_kernel(self, params) -> None:
        kernels = kernel_times(params)

        def chunks(count: int, tokens: int) -> float:
            return kernels.prefill_attention_ms(
                count * tokens, count, count * tokens * (tokens + 1) // 2
            )

        least, long = chunks(1, 1), chunks(1, 64)
        assert chunks(10, 1) == pytest.approx(least)
        assert chunks(10, 64) == pytest.approx(long + 9 * (long - least))


class TestFit:
    def test_coefficients_of_noiseless_measurements_are_found(self) -> None:
        rng = np.random.default_rng(1)
        rows = pd.DataFrame({"a": rng.integers(1, 50, 200), "b": rng.integers(1, 9, 200)})
        rows["burst"] = 0
        rows["ms"] = 0.5 + 0.02 * rows["a"] + 0.3 * rows["b"]
        fitted = fit_time(rows, ("a", "b"), "ms")
        assert fitted.coefficients == pytest.approx((0.5, 0.02, 0.3), rel=1e-3)
        assert fitted(10, 2) == pytest.approx(1.3, rel=1e-3)
        assert fitted.ratios == pytest.approx(np.ones(len(fitted.ratios)), rel=1e-3)

    def test_outliers_do_not_move_the_fit_but_stay_in_the_sample(self) -> None:
        rng = np.random.default_rng(2)
        rows = pd.DataFrame({"a": rng.integers(1, 50, 300), "burst": 0})
        rows["ms"] = (1.0 + 0.1 * rows["a"]) * rng.uniform(0.98, 1.02, 300)
        rows.loc[::20, "ms"] *= 8
        fitted = fit_time(rows, ("a",), "ms")
        assert fitted.coefficients == pytest.approx((1.0, 0.1), rel=0.05)
        assert fitted.ratios.max() > 7
        assert np.median(fitted.ratios) == pytest.approx(1.0, rel=0.03)

    def test_more_work_is_never_quicker(self) -> None:
        rows = pd.DataFrame({"a": np.arange(1, 41), "ms": np.linspace(5, 1, 40), "burst": 0})
        assert min(fit_time(rows, ("a",), "ms").coefficients) >= 0

    def test_a_feature_that_does_not_vary_has_no_part(self) -> None:
        counts = np.arange(1, 41)
        rows = pd.DataFrame({"a": counts, "b": 7, "ms": counts * 2.0, "burst": 0})
        assert fit_time(rows, ("a", "b"), "ms").coefficients[2] == 0

    def test_too_few_measurements_are_refused(self) -> None:
        with pytest.raises(ValueError, match="at least"):
            fit_time(pd.DataFrame({"a": [1, 2], "ms": [1.0, 2.0]}), ("a",), "ms")


def fitted(params, loop: Loop = LOOP, kernel_factor: float = 1.0, attention_factor: float = 1.0):
    """`(timing, factors)` of what the planted engine records."""
    kernels = kernel_times(params, kernel_factor, attention_factor)
    recorded = record_bursts(params, kernels, loop)
    return fit_with_report(recorded.steps, recorded.requests, params, kernels)


def at(part: tuple[float, float], requests: int) -> float:
    return part[0] + part[1] * requests


class TestHost:
    @pytest.mark.parametrize(
        ("name", "features", "expected"),
        [
            ("host.schedule", (4, 0), at(LOOP.schedule, 4)),
            ("host.schedule", (5, 1), at(LOOP.schedule, 5)),
            ("host.dispatch", (4,), at(LOOP.dispatch, 4)),
            ("host.sample", (4,), at(LOOP.sample, 4)),
            ("host.result", (4,), at(LOOP.result, 4)),
            ("host.update", (8, 0), at(LOOP.update, 8)),
            ("host.gap", (4,), at(LOOP.gap, 4)),
            ("client.front_end", (32,), LOOP.front_end),
            ("client.front_end_queued", (32,), LOOP.front_end_queued),
            ("client.request_in", (32,), at(LOOP.client_in, 32)),
            ("client.first_token_out", (4,), at(LOOP.client_out, 4)),
        ],
    )
    def test_each_part_of_the_loop_is_found(self, timing, name, features, expected) -> None:
        found = attrgetter(name)(timing)
        assert found(*features[: len(found.features)]) == pytest.approx(expected, rel=0.05)

    @pytest.mark.parametrize(
        ("mode", "tokens", "requests"), [("full", 4, 4), ("piecewise", 20, 4), ("eager", 50, 3)]
    )
    def test_the_execution_in_each_graph_mode_is_found(
        self, timing, mode, tokens, requests
    ) -> None:
        expected = LOOP.execute_ms(mode, requests)
        assert timing.host.execute[mode](tokens, requests) == pytest.approx(expected, rel=0.05)

    def test_a_host_of_two_paces_is_told_from_its_steps(self, params) -> None:
        # the same engine, now as planted, now 1.5 times as slow
        timing, _ = fitted(params, dataclasses.replace(LOOP, paces=(1.0, 1.5)))
        slow, quick = np.quantile(timing.host.pace.windows, (0.9, 0.1))
        # a window may hold the change from one to the other
        assert slow / quick == pytest.approx(1.5, rel=0.1)
        # what is left of a part when the pace is divided out is its own jitter of 3 %
        low, high = np.quantile(timing.host.schedule.ratios, (0.1, 0.9))
        assert high / low < 1.2

    def test_the_level_of_a_host_of_two_paces_is_between_them(self, params) -> None:
        timing, _ = fitted(params, dataclasses.replace(LOOP, paces=(1.0, 1.5)))
        mean = timing.host.pace.windows.mean() * timing.host.schedule(4, 0)
        assert at(LOOP.schedule, 4) < mean < 1.5 * at(LOOP.schedule, 4)

    def test_a_synchronous_engine_is_fitted_too(self, params) -> None:
        synchronous = params.model_copy(update={"async_scheduling": False})
        timing, factors = fitted(synchronous)
        kernel_ms = kernel_times(synchronous).step_ms(decodes(4, 4 * 40))
        expected = 0.5 + 1.2 * kernel_ms + 4 * LOOP.execute_per_request
        assert timing.host.execute["full"](kernel_ms, 4) == pytest.approx(expected, rel=0.05)
        assert not factors

    def test_every_fit_says_what_it_rests_on(self, timing) -> None:
        found = timing.host.schedule
        assert found.num_rows > 100
        assert 0 < found.residual_pct < 3
        assert 0 < found.interval_pct < 1

    def test_bursts_too_few_to_fit_say_what_to_do(self, params) -> None:
        kernels = kernel_times(params)
        recorded = recorded_bursts(params)
        first = recorded.steps[recorded.steps["burst"] == 0]
        with pytest.raises(ProfilingBundleError, match="profile again.*larger burst grid"):
            fit_engine_timing(first, recorded.requests, params, kernels)

    def test_bursts_that_are_held_out_are_fitted_by_nothing(self, params) -> None:
        kernels = kernel_times(params)
        recorded = recorded_bursts(params)
        kept = [frame[frame["kind"] != HELD_OUT] for frame in (recorded.steps, recorded.requests)]
        whole, without = (
            fit_with_report(steps, requests, params, kernels)
            for steps, requests in ((recorded.steps, recorded.requests), kept)
        )
        assert whole[1] == without[1]
        assert whole[0].host.schedule.coefficients == without[0].host.schedule.coefficients
        assert (whole[0].host.pace.windows == without[0].host.pace.windows).all()


class TestGpu:
    """Kernels a hundred times as long as the tables': every step outlasts its launches."""

    def scale(self, params, factor: float = 100, **of_loop: Any):
        return fitted(params, dataclasses.replace(LOOP, **of_loop), factor, attention_factor=8)

    def test_kernels_as_they_were_timed_need_no_correction(self, params) -> None:
        timing, factors = self.scale(params)
        assert timing.gpu.full.y == pytest.approx([1.0] * len(timing.gpu.full.y), abs=0.003)
        assert timing.gpu.mixed(0) == pytest.approx(1.0, abs=0.01)
        assert {name for name, found in factors.items() if found.num_rows}

    def test_a_graph_that_is_quicker_than_its_kernels_is_found(self, params) -> None:
        gpu = self.scale(params, full_scale=0.95)[0].gpu
        assert gpu.full(4) == pytest.approx(0.95, rel=0.01)
        assert gpu.mixed(0) == pytest.approx(1.0, abs=0.01)

    def test_attention_of_uneven_contexts_is_told_from_the_rest_of_a_graph(self, params) -> None:
        gpu = self.scale(params, full_attention=1.2)[0].gpu
        kernel_ms, attention_ms = 10.0, 4.0
        expected = kernel_ms + 0.2 * attention_ms
        assert gpu.full_ms(4, kernel_ms, attention_ms) == pytest.approx(expected, rel=0.03)

    def test_mixed_steps_have_a_factor_of_their_own(self, params) -> None:
        gpu = self.scale(params, mixed_scale=0.9)[0].gpu
        assert gpu.mixed(0) == pytest.approx(0.9, rel=0.02)
        assert gpu.full(4) == pytest.approx(1.0, rel=0.01)

    def test_prefill_that_goes_on_slows_down_as_measured_and_no_further(self, params) -> None:
        timing, factors = self.scale(params, throttle_per_s=2.0)
        curve = timing.gpu.mixed
        rows = [found.num_rows for name, found in factors.items() if "mixed" in name]
        known = [
            at_ms for at_ms, count in zip(curve.x, rows, strict=True) if count > 2 * PRIOR_STEPS
        ]
        assert max(known) > 100
        for at_ms in known:
            assert curve(at_ms) == pytest.approx(min(1 + 2.0 * at_ms / 1e3, HIGHEST), rel=0.05)
        assert curve(1e6) == curve(max(curve.x))

    def test_where_the_first_kernel_of_a_mixed_step_is_launched_is_found(self, params) -> None:
        quick = (("full", 0.3), ("piecewise", 20.0), ("eager", 20.0))
        for share in (0.2, 0.6):
            gpu = self.scale(params, execute=quick, mixed_start_share=share)[0].gpu
            assert gpu.mixed_start_share == pytest.approx(share, abs=0.1)

    def test_launches_that_hide_the_kernels_leave_their_factor_at_exactly_1(self, params) -> None:
        # every mixed step ends with its last launch, whatever its kernels take
        timing, factors = fitted(params, dataclasses.replace(LOOP, mixed_scale=1.3))
        assert set(timing.gpu.mixed.y) == {1.0}
        assert all(not found.num_rows for name, found in factors.items() if "mixed" in name)

    def test_the_factor_moves_smoothly_as_launches_come_to_hide_the_kernels(self, params) -> None:
        # no threshold sorts steps: as the host gets slower the factor goes from planted to 1
        found = []
        for piecewise_ms in np.linspace(2, 60, 12):
            execute = (("full", 0.3), ("piecewise", piecewise_ms), ("eager", 2 * piecewise_ms))
            found.append(self.scale(params, 40, execute=execute, mixed_scale=0.9)[0].gpu.mixed(0))
        assert found[0] == pytest.approx(0.9, rel=0.02)
        assert found[-1] == 1.0
        assert (np.diff(found) >= 0).all()
        assert any(0.9 < factor < 1.0 for factor in found)


class TestPrior:
    @given(prior=st.floats(0.8, 1.2), ratios=st.lists(st.floats(0.2, 3.0), min_size=0, max_size=40))
    def test_a_factor_lies_between_what_is_known_and_what_was_seen_and_within_bounds(
        self, prior, ratios
    ) -> None:
        found = drawn_to(prior, ratios)
        assert LOWEST <= found <= HIGHEST
        seen = [*ratios, prior]
        assert min(seen) <= found or found == LOWEST
        assert found <= max(seen) or found == HIGHEST

    @given(ratios=st.lists(st.floats(0.8, 1.3), max_size=PRIOR_STEPS - 1))
    def test_few_steps_move_nothing(self, ratios) -> None:
        assert drawn_to(1.0, ratios) == 1.0

    def test_many_steps_are_believed(self) -> None:
        ratios = np.random.default_rng(3).normal(1.08, 0.01, 400)
        assert drawn_to(1.0, ratios) == pytest.approx(1.08, abs=0.003)

    @given(ratios=st.lists(st.floats(0.7, 1.5), min_size=1, max_size=40), shift=st.floats(0, 0.2))
    def test_slower_steps_make_no_smaller_factor(self, ratios, shift) -> None:
        slower = [ratio + shift for ratio in ratios]
        assert drawn_to(1.0, slower) >= drawn_to(1.0, ratios)
