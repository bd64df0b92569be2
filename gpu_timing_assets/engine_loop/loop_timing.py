"""How long a turn of the engine's loop takes: its kernels alone, or kernels, host and how they
overlap.

The picture (vLLM V1, one Python loop): a step is scheduled, prepared and launched; with
asynchronous scheduling the result of step k is awaited and processed only after step k+1 was
launched; without, the loop waits for it at once.

    async:  schedule k │ launch k │ wait for k−1 │ update k−1 │ gap │ schedule k+1 │ …
    sync:   schedule k │ execute k              │ update k   │ gap │ schedule k+1 │ …

A full CUDA graph starts on the GPU when its launch ends; a piecewise or eager step starts when its
inputs are prepared and cannot end before its launch does.
"""

from dataclasses import dataclass

import numpy as np

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engine_loop.client import ClientTiming
from gpu_timing_assets.engine_loop.cuda_graphs import EAGER, FULL, graph_modes, padded_tokens
from gpu_timing_assets.engine_loop.fitted_time import DrawnRatio, DrawnTime
from gpu_timing_assets.engine_loop.gpu import GpuScale
from gpu_timing_assets.engine_loop.host import HostTiming
from gpu_timing_assets.engine_loop.kernels import KernelTimes
from gpu_timing_assets.engine_loop.step import Step


@dataclass(frozen=True)
class EngineTiming:
    """Everything that a step of one target costs beyond its kernels."""

    host: HostTiming
    gpu: GpuScale
    client: ClientTiming


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
        host, rng = timing.host, np.random.default_rng(seed)
        self.asynchronous = params.async_scheduling
        self._kernels, self._gpu = StepKernels(params, kernels), timing.gpu
        self._wake_up_s = host.wake_up_ms / 1e3
        self._schedule, self._update = DrawnTime(host.schedule, rng), DrawnTime(host.update, rng)
        self._gap = DrawnTime(host.gap, rng)
        self._launch, self._launch_after_idle = (
            {mode: DrawnTime(fit, rng) for mode, fit in launch.items()}
            for launch in (host.launch, host.launch_after_idle)
        )
        self._any_launch = self._launch.get(EAGER) or next(iter(self._launch.values()))
        self._gpu_ratio = DrawnRatio(timing.gpu.ratios, rng)
        # of the clock: until when the GPU and the loop are busy; and the mixed kernels in a row
        self._gpu_free_s = self._busy_until_s = self._mixed_row_s = 0.0

    def duration_s(self, step: Step) -> float:
        begin_s = step.schedule_begin_s
        step.after_idle = begin_s > self._busy_until_s
        awake_s = begin_s + (self._wake_up_s if step.after_idle else 0.0)
        end_s = self._run_async(step, awake_s) if self.asynchronous else self._run(step, awake_s)
        # the caller adds the duration to the begin: floats need not come back to where they were
        self._busy_until_s = begin_s + (end_s - begin_s)
        return end_s - begin_s

    def _run(self, step: Step, begin_s: float) -> float:
        kernel_ms = self._kernels.seconds(step) * 1e3
        decodes, prefills = step.num_decode_requests, step.num_prefill_requests
        step.schedule_end_s = begin_s + self._schedule(decodes, prefills)
        step.gpu_end_s = step.schedule_end_s + self._launch_of(step)(kernel_ms, step.num_requests)
        step.result_s = step.gpu_end_s + self._update(decodes, prefills)
        return step.result_s + self._gap(step.num_requests)

    def _run_async(self, step: Step, begin_s: float) -> float:
        launched_s = step.schedule_end_s = begin_s + self._schedule(
            step.num_decode_requests, step.num_prefill_requests
        )
        if step.sequences:
            kernel_s, ratio = self._kernels.seconds(step), self._gpu_ratio()
            launched_s += self._launch_of(step)(step.num_tokens, step.num_requests)
            if step.graph_mode == FULL:
                step.gpu_end_s = self._full_graph_end_s(step, launched_s, kernel_s, ratio)
            else:
                step.gpu_end_s = self._mixed_end_s(step, launched_s, kernel_s, ratio)
            self._gpu_free_s = step.gpu_end_s
        previous = step.previous
        if previous is None:
            return launched_s + self._gap(step.num_requests)
        previous.result_s = max(launched_s, previous.gpu_end_s) + self._update(
            previous.num_decode_requests, previous.num_prefill_requests
        )
        return previous.result_s + self._gap(step.num_requests)

    def _full_graph_end_s(
        self, step: Step, launched_s: float, kernel_s: float, ratio: float
    ) -> float:
        self._mixed_row_s = 0.0
        scale = self._gpu.full(step.padded_tokens, step.kv_tokens / step.num_requests)
        return max(self._gpu_free_s, launched_s) + kernel_s * scale * ratio

    def _mixed_end_s(self, step: Step, launched_s: float, kernel_s: float, ratio: float) -> float:
        first_kernel_s = step.schedule_end_s + self._gpu.mixed_start_ms / 1e3
        if self._gpu_free_s < first_kernel_s:
            self._mixed_row_s = 0.0
        attention_ms = self._kernels.times.decode_attention_ms(
            step.num_decode_requests, step.decode_kv_tokens
        )
        mixed_ms = self._gpu.mixed_ms(kernel_s * 1e3, attention_ms, self._mixed_row_s * 1e3) * ratio
        self._mixed_row_s += kernel_s
        return max(launched_s, max(self._gpu_free_s, first_kernel_s) + mixed_ms / 1e3)

    def _launch_of(self, step: Step) -> DrawnTime:
        if step.after_idle and step.graph_mode in self._launch_after_idle:
            return self._launch_after_idle[step.graph_mode]
        return self._launch.get(step.graph_mode) or self._any_launch
