"""What the time model finds in a bundle made by formula: the formula. Numbers of real targets are
judged elsewhere.
"""

import dataclasses
from operator import attrgetter

import numpy as np
import pandas as pd
import pytest

from gpu_timing_assets.core.errors import ProfilingBundleError
from gpu_timing_assets.engine_loop.fit.engine import fit_engine_timing
from gpu_timing_assets.engine_loop.fit.fit_time import fit_time
from gpu_timing_assets.engine_loop.interpolation import Curve, Surface
from gpu_timing_assets.engine_loop.step import Step
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import (
    KERNEL_MS,
    LOOP,
    Loop,
    burst_tables,
    engine_params,
    kernel_times,
    target_config,
)


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory):
    return engine_params(target_config(tmp_path_factory.mktemp("unused")))


@pytest.fixture(scope="module")
def timing(params):
    kernels = kernel_times(params)
    return fit_engine_timing(*burst_tables(params, kernels)[:2], params, kernels)


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


class TestFit:
    def test_coefficients_of_noiseless_measurements_are_found(self) -> None:
        rng = np.random.default_rng(1)
        rows = pd.DataFrame({"a": rng.integers(1, 50, 200), "b": rng.integers(1, 9, 200)})
        rows["ms"] = 0.5 + 0.02 * rows["a"] + 0.3 * rows["b"]
        fitted = fit_time(rows, ("a", "b"), "ms")
        assert fitted.coefficients == pytest.approx((0.5, 0.02, 0.3), rel=1e-3)
        assert fitted(10, 2) == pytest.approx(1.3, rel=1e-3)
        assert fitted.ratios == pytest.approx(np.ones(len(fitted.ratios)), rel=1e-3)

    def test_outliers_do_not_move_the_fit_but_stay_in_the_sample(self) -> None:
        rng = np.random.default_rng(2)
        rows = pd.DataFrame({"a": rng.integers(1, 50, 300)})
        rows["ms"] = (1.0 + 0.1 * rows["a"]) * rng.uniform(0.98, 1.02, 300)
        rows.loc[::20, "ms"] *= 8
        fitted = fit_time(rows, ("a",), "ms")
        assert fitted.coefficients == pytest.approx((1.0, 0.1), rel=0.05)
        assert fitted.ratios.max() > 7
        assert np.median(fitted.ratios) == pytest.approx(1.0, rel=0.03)

    def test_more_work_is_never_quicker(self) -> None:
        rows = pd.DataFrame({"a": np.arange(1, 41), "ms": np.linspace(5, 1, 40)})
        assert min(fit_time(rows, ("a",), "ms").coefficients) >= 0

    def test_a_feature_that_does_not_vary_has_no_part(self) -> None:
        rows = pd.DataFrame({"a": np.arange(1, 41), "b": 7, "ms": np.arange(1, 41) * 2.0})
        assert fit_time(rows, ("a", "b"), "ms").coefficients[2] == 0

    def test_too_few_measurements_are_refused(self) -> None:
        with pytest.raises(ValueError, match="at least"):
            fit_time(pd.DataFrame({"a": [1, 2], "ms": [1.0, 2.0]}), ("a",), "ms")


class TestEngineTiming:
    @pytest.mark.parametrize(
        ("name", "features", "expected"),
        [
            ("host.schedule", (4, 0), LOOP.schedule[0] + 4 * LOOP.schedule[1]),
            ("host.schedule", (4, 1), LOOP.schedule[0] + 5 * LOOP.schedule[1]),
            ("host.update", (8, 0), LOOP.update[0] + 8 * LOOP.update[1]),
            ("host.gap", (4,), LOOP.gap[0] + 4 * LOOP.gap[1]),
            ("client.request_in", (32,), LOOP.client_in[0] + 32 * LOOP.client_in[1]),
            ("client.first_token_out", (4,), LOOP.client_out[0] + 4 * LOOP.client_out[1]),
        ],
    )
    def test_each_part_of_the_loop_is_found(self, timing, name, features, expected) -> None:
        fitted = attrgetter(name)(timing)
        assert fitted(*features[: len(fitted.features)]) == pytest.approx(expected, rel=0.1)

    @pytest.mark.parametrize(
        ("mode", "tokens", "requests"), [("full", 4, 4), ("piecewise", 20, 4), ("eager", 50, 3)]
    )
    def test_the_launch_of_each_graph_mode_is_found(self, timing, mode, tokens, requests) -> None:
        assert timing.host.launch[mode](tokens, requests) == pytest.approx(
            LOOP.launch_ms(mode, requests), rel=0.15
        )

    def test_a_slow_host_does_not_make_the_gpu_look_slow(self, timing) -> None:
        assert timing.gpu.full(4, 20) <= 1.0

    def test_a_synchronous_engine_is_fitted_too(self, params) -> None:
        synchronous = params.model_copy(update={"async_scheduling": False})
        kernels = kernel_times(synchronous)
        timing = fit_engine_timing(*burst_tables(synchronous, kernels)[:2], synchronous, kernels)
        kernel_ms = kernels.step_ms(decodes(4, 4 * 40))
        expected = 0.5 + 1.2 * kernel_ms + 4 * LOOP.launch_per_request
        assert timing.host.launch["full"](kernel_ms, 4) == pytest.approx(expected, rel=0.05)

    def test_bursts_too_few_to_fit_say_what_to_do(self, params) -> None:
        kernels = kernel_times(params)
        steps, requests, _ = burst_tables(params, kernels)
        with pytest.raises(ProfilingBundleError, match="profile again.*larger burst grid"):
            fit_engine_timing(steps[steps["burst"] == 0], requests, params, kernels)


class TestGpuTimes:
    """Of an engine whose every step outlasts its launch."""

    quick_host = Loop(launch=(("full", 0.5), ("piecewise", 1.0), ("eager", 1.0)))

    def fitted_gpu(self, params, factor=100, **of_loop):
        kernels = kernel_times(params, factor, decode_attention_factor=8)
        loop = dataclasses.replace(self.quick_host, **of_loop)
        return fit_engine_timing(*burst_tables(params, kernels, loop)[:2], params, kernels).gpu

    def test_the_kernels_of_a_mixed_step_and_its_decode_attention_are_told_apart(
        self, params
    ) -> None:
        gpu = self.fitted_gpu(params, mixed_scale=0.9, mixed_decode_attention=1.8)
        assert gpu.mixed(0) == pytest.approx(0.9, rel=0.06)
        assert gpu.mixed_decode_attention == pytest.approx(1.8, rel=0.1)
        assert gpu.full(4, 20) == pytest.approx(1.0, rel=0.02)

    def test_prefill_that_goes_on_slows_down_as_measured_and_no_further(self, params) -> None:
        gpu = self.fitted_gpu(params, factor=40, throttle_per_s=1.0)
        assert gpu.mixed(0) == pytest.approx(1.0, rel=0.06)
        assert gpu.mixed(150) == pytest.approx(1.15, rel=0.06)
        assert gpu.mixed(1e6) == gpu.mixed(max(gpu.mixed.x))

    def test_a_mixed_step_on_a_free_gpu_starts_when_its_inputs_are_prepared(self, params) -> None:
        assert self.fitted_gpu(params, mixed_start=5.0).mixed_start_ms == pytest.approx(
            5.0, abs=1.5
        )
