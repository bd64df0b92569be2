"""How long a turn of the engine's loop takes: its kernels alone, or kernels, host and how they
overlap.

The picture (vLLM V1, one Python loop): a step is scheduled, and its worker executes (prepares and
launches) and samples; with asynchronous scheduling the result of step k is taken up and processed
only after step k+1 was launched; without, the loop waits for it at once.

    async:  schedule k │ execute k │ sample k │ result k−1 │ update k−1 │ gap │ schedule k+1 │ …
    sync:   schedule k │ execute k │ sample k │ result k   │ update k   │ gap │ schedule k+1 │ …

With several devices the workers are processes of their own: the loop hands the step over and goes
on to the result of the one before, while they execute.

A full CUDA graph starts on the GPU when its launch has returned; a piecewise or eager step starts
with its first kernel and cannot end before its last one was launched.
"""

from dataclasses import dataclass, replace

import numpy as np

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engine_loop.client import ClientTiming
from gpu_timing_assets.engine_loop.cuda_graphs import FULL, graph_modes, padded_tokens
from gpu_timing_assets.engine_loop.fitted_time import DrawnRatio, DrawnTime
from gpu_timing_assets.engine_loop.gpu import GpuScale
from gpu_timing_assets.engine_loop.host import DrawnPace, HostTiming
from gpu_timing_assets.engine_loop.kernels import KernelTimes
from gpu_timing_assets.engine_loop.step import Step


@dataclass(frozen=True)
class EngineTiming:
    """Everything that a step of one target costs beyond its kernels."""

    host: HostTiming
    gpu: GpuScale
    client: ClientTiming

    def at_host_speed(self, ratio: float) -> "EngineTiming":
        """Of an engine whose host takes `ratio` times as long for everything."""
        return replace(self, host=self.host.at_speed(ratio))


class StepKernels:
    """The kernels of whole steps, under the engine's CUDA graphs."""

    def __init__(self, params: EngineParams, kernels: KernelTimes) -> None:
        self.times = kernels
        self._cudagraph_mode, self._capture_sizes = params.graph_mode, params.graph_capture_sizes
        self._modes: dict[tuple[bool, int], str] = {}

    def choose_graph(self, step: Step) -> None:
        """Set the step's `graph_mode` and `padded_tokens`."""
        key = (step.num_prefill_tokens > 0, step.num_tokens)
        if key not in self._modes:
            prefill, decode = np.array([[step.num_prefill_tokens], [step.num_decode_requests]])
            modes = graph_modes(prefill, decode, self._cudagraph_mode, self._capture_sizes)
            self._modes[key] = str(modes[0])
        step.graph_mode = self._modes[key]
        step.padded_tokens = padded_tokens(step.num_tokens, self._capture_sizes, step.graph_mode)

    def seconds(self, step: Step) -> float:
        self.choose_graph(step)
        return self.times.step_ms(step) / 1e3


class KernelsOnly:
    """Kernels one step after the other; a result is there when its kernels are done."""

    asynchronous = False

    def __init__(self, params: EngineParams, kernels: KernelTimes) -> None:
        self._kernels = StepKernels(params, kernels)

    def duration_s(self, step: Step) -> float:
        return set_times_without_host(step, self._kernels.seconds(step))


def set_times_without_host(step: Step, execution_s: float) -> float:
    """A step of an engine without a host: its result is there after `execution_s`."""
    step.schedule_end_s = step.schedule_begin_s
    step.gpu_end_s = step.result_s = step.schedule_begin_s + execution_s
    return step.result_s - step.schedule_begin_s


class LoopTiming:
    """The picture above, its times drawn from the fits; `seed` is that of the draws."""

    def __init__(
        self, params: EngineParams, kernels: KernelTimes, timing: EngineTiming, seed: int
    ) -> None:
        host, gpu, rng = timing.host, timing.gpu, np.random.default_rng(seed)
        self.asynchronous = params.async_scheduling
        self._workers_apart = params.tensor_parallel_size > 1
        self._kernels, self._gpu = StepKernels(params, kernels), gpu
        self._wake_up_s, self._pace = host.wake_up_ms / 1e3, DrawnPace(host.pace, rng)
        self._schedule, self._dispatch = (
            DrawnTime(fitted, rng) for fitted in (host.schedule, host.dispatch)
        )
        self._execute, self._execute_after_idle = (
            {mode: DrawnTime(fit, rng) for mode, fit in execute.items()}
            for execute in (host.execute, host.execute_after_idle)
        )
        self._execute_mode = host.execute_mode
        self._sample, self._result, self._update, self._gap = (
            DrawnTime(fitted, rng) for fitted in (host.sample, host.result, host.update, host.gap)
        )
        self._full_ratio = DrawnRatio(gpu.full_ratios, rng)
        self._mixed_ratio = DrawnRatio(gpu.mixed_ratios, rng)
        # of the clock: until when the GPU, the workers and the loop are busy
        self._gpu_free_s = self._workers_free_s = self._busy_until_s = 0.0
        self._mixed_row_s = 0.0

    def duration_s(self, step: Step) -> float:
        begin_s = step.schedule_begin_s
        step.after_idle = begin_s > self._busy_until_s
        awake_s = begin_s + (self._wake_up_s if step.after_idle else 0.0)
        pace = self._pace(awake_s)
        run = self._run_async if self.asynchronous else self._run
        end_s = run(step, awake_s, pace)
        # the caller adds the duration to the begin: floats need not come back to where they were
        self._busy_until_s = begin_s + (end_s - begin_s)
        return end_s - begin_s

    def _run(self, step: Step, begin_s: float, pace: float) -> float:
        kernel_ms, requests = self._kernels.seconds(step) * 1e3, step.num_requests
        self._scheduled(step, begin_s, pace)
        worker_s = self._dispatch(requests) + self._execute_of(step)(kernel_ms, requests)
        worker_s += self._sample(requests)
        step.gpu_end_s = step.schedule_end_s + pace * worker_s
        return self._processed(step, step, step.gpu_end_s, pace)

    def _run_async(self, step: Step, begin_s: float, pace: float) -> float:
        handed_over_s = self._scheduled(step, begin_s, pace)
        if step.sequences:
            sampled_s = self._launched(step, pace)
            handed_over_s = handed_over_s if self._workers_apart else sampled_s
        if step.previous is None:
            return handed_over_s + pace * self._gap(step.num_requests)
        return self._processed(step.previous, step, handed_over_s, pace)

    def _scheduled(self, step: Step, begin_s: float, pace: float) -> float:
        schedule_s = self._schedule(step.num_requests, step.with_prompt)
        step.schedule_end_s = begin_s + pace * schedule_s
        return step.schedule_end_s

    def _processed(self, step: Step, turn: Step, ready_s: float, pace: float) -> float:
        """The result of `step` is taken up in the turn of another (or its own) that is ready for
        it; returns when the loop can schedule again.
        """
        result_s = max(ready_s, step.gpu_end_s) + pace * self._result(step.num_requests)
        update_s = self._update(step.num_requests, step.with_prompt)
        step.result_s = result_s + pace * update_s
        return step.result_s + pace * self._gap(turn.num_requests)

    def _launched(self, step: Step, pace: float) -> float:
        """Sets when the GPU is done with `step`; returns when its worker is."""
        kernel_s, requests = self._kernels.seconds(step), step.num_requests
        begin_s = max(step.schedule_end_s, self._workers_free_s) + pace * self._dispatch(requests)
        execute_s = pace * self._execute_of(step)(step.num_tokens, requests)
        executed_s = begin_s + execute_s
        self._workers_free_s = sampled_s = executed_s + pace * self._sample(requests)
        attention_s = (
            self._kernels.times.decode_attention_ms(step.num_decode_requests, step.decode_kv_tokens)
            / 1e3
        )
        if step.graph_mode == FULL:
            self._mixed_row_s = 0.0
            gpu_s = self._gpu.full_ms(step.padded_tokens, kernel_s, attention_s)
            gpu_s *= self._full_ratio()
            step.gpu_end_s = max(self._gpu_free_s, executed_s) + gpu_s
        else:
            first_kernel_s = begin_s + self._gpu.mixed_start_share * execute_s
            # waiting for the first launch is no pause: the fit counts such steps as in a row
            if self._gpu_free_s < begin_s:
                self._mixed_row_s = 0.0
            gpu_s = self._gpu.mixed(self._mixed_row_s * 1e3) * kernel_s * self._mixed_ratio()
            self._mixed_row_s += kernel_s
            step.gpu_end_s = max(sampled_s, max(self._gpu_free_s, first_kernel_s) + gpu_s)
        self._gpu_free_s = step.gpu_end_s
        return sampled_s

    def _execute_of(self, step: Step) -> DrawnTime:
        if step.after_idle and step.graph_mode in self._execute_after_idle:
            return self._execute_after_idle[step.graph_mode]
        return self._execute[self._execute_mode(step.graph_mode)]
