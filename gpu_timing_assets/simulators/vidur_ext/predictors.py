"""Execution-time predictors for Vidur's registry: how long a round of the engine's loop takes.

`kernel`   the kernels of the step and nothing else: what a simulator without a host predicts.
`engine`   kernels, host, pipeline and edges (see `engine_loop.engine_timing`).
`recorded` the durations of a real run's loop, step by step: no error of the time model left.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from vidur.config.config import BaseExecutionTimePredictorConfig
from vidur.execution_time_predictor.base_execution_time_predictor import BaseExecutionTimePredictor
from vidur.types import BaseIntEnum

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engine_loop.engine_timing import EngineTiming
from gpu_timing_assets.engine_loop.graph_mode import EAGER, FULL, graph_modes
from gpu_timing_assets.engine_loop.kernel_times import KernelTimes
from gpu_timing_assets.engine_loop.padding import padded_tokens
from gpu_timing_assets.simulators.vidur_ext.drawn_times import DrawnRatio, DrawnTime
from gpu_timing_assets.simulators.vidur_ext.engine_step import EngineStep, LoopTime


class PredictorType(BaseIntEnum):
    KERNEL = 100
    ENGINE = 101
    STOCK = 102
    RECORDED = 103


@dataclass
class KernelPredictorConfig(BaseExecutionTimePredictorConfig):
    params: EngineParams | None = None
    kernels: KernelTimes | None = None

    @staticmethod
    def get_type() -> PredictorType:
        return PredictorType(PredictorType.KERNEL)


@dataclass
class EnginePredictorConfig(KernelPredictorConfig):
    timing: EngineTiming | None = None
    seed: int = 0

    @staticmethod
    def get_type() -> PredictorType:
        return PredictorType(PredictorType.ENGINE)


@dataclass
class RecordedPredictorConfig(KernelPredictorConfig):
    """`recorded`: the `engine_steps` of a real run."""

    recorded: pd.DataFrame | None = None

    @staticmethod
    def get_type() -> PredictorType:
        return PredictorType(PredictorType.RECORDED)


class _StepPredictor(BaseExecutionTimePredictor):
    """Base of predictors that time an `EngineStep` as a whole, not a layer's operators."""

    asynchronous = False

    def __init__(
        self, predictor_config: KernelPredictorConfig, replica_config: Any, cache_config: Any
    ) -> None:
        super().__init__(predictor_config, replica_config, cache_config)
        assert predictor_config.params is not None
        assert predictor_config.kernels is not None
        self._params, self._kernels = predictor_config.params, predictor_config.kernels
        self._modes: dict[tuple[bool, int], str] = {}

    def get_execution_time(self, step: EngineStep, pipeline_stage: int) -> LoopTime:  # type: ignore[override]
        raise NotImplementedError

    def _mode(self, step: EngineStep) -> str:
        key = (step.num_prefill_tokens > 0, step.num_tokens)
        if key not in self._modes:
            self._modes[key] = str(
                graph_modes(
                    np.array([step.num_prefill_tokens]),
                    np.array([step.num_decode_requests]),
                    self._params.graph_mode,
                    self._params.graph_capture_sizes,
                )[0]
            )
        return self._modes[key]

    def _kernel_s(self, step: EngineStep) -> float:
        step.graph_mode = mode = self._mode(step)
        return (
            self._kernels.step_ms(
                step.shape(padded_tokens(step.num_tokens, self._params.graph_capture_sizes, mode))
            )
            / 1e3
        )

    # Vidur's base class is abstract in the operators of a layer, of which these predictors make no
    # use.
    def _unused(self, batch: EngineStep) -> float:
        raise NotImplementedError(f"{type(self).__name__} times whole steps")

    _get_attention_layer_pre_proj_execution_time = _get_attention_layer_post_proj_execution_time = (
        _unused
    )
    _get_attention_rope_execution_time = _get_attention_kv_cache_save_execution_time = _unused
    _get_attention_decode_execution_time = _get_attention_prefill_execution_time = _unused
    _get_mlp_layer_up_proj_execution_time = _get_mlp_layer_down_proj_execution_time = _unused
    _get_mlp_layer_act_execution_time = _get_tensor_parallel_communication_time = _unused
    _get_pipeline_parallel_communication_time = _get_mlp_norm_layer_act_execution_time = _unused
    _get_attn_norm_layer_act_execution_time = _get_add_layer_act_execution_time = (
        _get_kv_parallel_communication_time
    ) = _unused


class KernelPredictor(_StepPredictor):
    """Kernels one step after the other; a result is there when its kernels are done."""

    def get_execution_time(self, step: EngineStep, pipeline_stage: int) -> LoopTime:  # type: ignore[override]
        begin = step.scheduled_at
        step.schedule_end = begin
        step.ready = step.result = begin + self._kernel_s(step)
        return LoopTime(step.result - begin)


class EnginePredictor(_StepPredictor):
    """One round of vLLM's loop; see the picture in `timing_model.engine_timing`."""

    def __init__(
        self, predictor_config: EnginePredictorConfig, replica_config: Any, cache_config: Any
    ) -> None:
        super().__init__(predictor_config, replica_config, cache_config)
        assert predictor_config.timing is not None
        self.asynchronous = self._params.async_scheduling
        timing, rng = predictor_config.timing, np.random.default_rng(predictor_config.seed)
        self._gpu_free = self._busy_until = self._mixed_row_s = 0.0
        self._wake_up_s, self._gpu = timing.wake_up_ms / 1e3, timing.gpu
        self._schedule, self._update, self._gap = (
            DrawnTime(fit, rng) for fit in (timing.schedule, timing.update, timing.gap)
        )
        self._launch = {mode: DrawnTime(fit, rng) for mode, fit in timing.launch.items()}
        self._launch_after_idle = {
            mode: DrawnTime(fit, rng) for mode, fit in timing.launch_after_idle.items()
        }
        self._any_launch = self._launch.get(EAGER) or next(iter(self._launch.values()))
        self._gpu_ratio = DrawnRatio(timing.gpu.ratios, rng)

    def get_execution_time(self, step: EngineStep, pipeline_stage: int) -> LoopTime:  # type: ignore[override]
        begin = step.scheduled_at
        step.after_idle = begin > self._busy_until
        awake = begin + (self._wake_up_s if step.after_idle else 0.0)
        end = self._round_async(step, awake) if self.asynchronous else self._round_sync(step, awake)
        # Vidur adds the duration to the begin again, and floats need not come back to where they
        # were
        self._busy_until = begin + (end - begin)
        return LoopTime(end - begin)

    def _round_sync(self, step: EngineStep, begin: float) -> float:
        num_requests, kernel_ms = len(step.sequences), self._kernel_s(step) * 1e3
        step.schedule_end = begin + self._schedule(
            step.num_decode_requests, step.num_prefill_requests
        )
        step.ready = step.schedule_end + self._launch_of(step)(kernel_ms, num_requests)
        step.result = step.ready + self._update(step.num_decode_requests, step.num_prefill_requests)
        return step.result + self._gap(num_requests)

    def _round_async(self, step: EngineStep, begin: float) -> float:
        previous, num_requests = step.previous, len(step.sequences)
        step.schedule_end = launched = begin + self._schedule(
            step.num_decode_requests, step.num_prefill_requests
        )
        if num_requests:
            kernels, ratio = self._kernel_s(step), self._gpu_ratio()
            launched += self._launch_of(step)(step.num_tokens, num_requests)
            if step.graph_mode == FULL:
                padded = padded_tokens(step.num_tokens, self._params.graph_capture_sizes, FULL)
                scale = self._gpu.full(padded, step.kv_tokens / num_requests)
                step.ready = max(self._gpu_free, launched) + kernels * scale * ratio
                self._mixed_row_s = 0.0
            else:
                first_kernel = step.schedule_end + self._gpu.mixed_start_ms / 1e3
                if self._gpu_free < first_kernel:
                    self._mixed_row_s = 0.0
                attention_ms = self._kernels.decode_attention_ms(
                    step.num_decode_requests, step.decode_kv_tokens
                )
                mixed_ms = (
                    self._gpu.mixed_ms(kernels * 1e3, attention_ms, self._mixed_row_s * 1e3) * ratio
                )
                step.ready = max(launched, max(self._gpu_free, first_kernel) + mixed_ms / 1e3)
                self._mixed_row_s += kernels
            self._gpu_free = step.ready
        if previous is None:
            return launched + self._gap(num_requests)
        previous.result = max(launched, previous.ready) + self._update(
            previous.num_decode_requests, previous.num_prefill_requests
        )
        return previous.result + self._gap(num_requests)

    def _launch_of(self, step: EngineStep) -> DrawnTime:
        if step.after_idle and step.graph_mode in self._launch_after_idle:
            return self._launch_after_idle[step.graph_mode]
        return self._launch.get(step.graph_mode) or self._any_launch


class RecordedPredictor(_StepPredictor):
    """Replays a real run's durations: round k takes what round k took there.

    Each simulated round takes the time from one `schedule_begin` to the next in the recording, and
    a step's result comes as long after its schedule as it did there. Rounds beyond the recording
    take its median.
    """

    def __init__(
        self, predictor_config: RecordedPredictorConfig, replica_config: Any, cache_config: Any
    ) -> None:
        super().__init__(predictor_config, replica_config, cache_config)
        assert predictor_config.recorded is not None
        self.asynchronous = self._params.async_scheduling
        rounds = recorded_rounds(predictor_config.recorded)
        self._rounds = deque(rounds.itertuples(index=False))
        self._median = rounds.median()

    def get_execution_time(self, step: EngineStep, pipeline_stage: int) -> LoopTime:  # type: ignore[override]
        begin, previous = step.scheduled_at, step.previous
        if not step.sequences:
            assert previous is not None
            previous.result = max(begin, previous.ready)
            return LoopTime(previous.result - begin)
        step.graph_mode = self._mode(step)
        recorded = self._rounds.popleft() if self._rounds else self._median
        step.schedule_end = begin + recorded.schedule_s
        step.ready = step.result = begin + recorded.result_s
        if not self.asynchronous:
            return LoopTime(max(recorded.result_s, recorded.round_s))
        end = begin + recorded.round_s
        if previous is not None:
            previous.result = max(previous.ready, step.schedule_end)
            end = max(end, previous.result)
        return LoopTime(end - begin)


def recorded_rounds(steps: pd.DataFrame) -> pd.DataFrame:
    """Of a real run's `engine_steps`, in seconds: `schedule_s`, `result_s` (schedule begin →
    result), `round_s` (→ next schedule).

    A round that ends with the engine idle (its step was processed before the next one was
    scheduled) lasts until its result: how long the engine then waited for work is for the simulated
    arrivals to say.
    """
    begin = steps["schedule_begin_ns"].to_numpy(dtype=float)
    result = steps["result_ns"].fillna(steps["schedule_end_ns"]).to_numpy(dtype=float)
    following = np.r_[begin[1:], result[-1:]]
    return pd.DataFrame(
        {
            "schedule_s": (steps["schedule_end_ns"].to_numpy(dtype=float) - begin) / 1e9,
            "result_s": (result - begin) / 1e9,
            "round_s": (np.minimum(following, result) - begin) / 1e9,
        }
    )
