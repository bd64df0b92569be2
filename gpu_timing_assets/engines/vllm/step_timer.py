"""When each step ran, seen in vLLM's worker: the host by its clock, the GPU by CUDA events.

Passed to vLLM as `worker_extension_cls`, so it is a base class of every rank's worker. On a device
whose work is done when a call returns (a CPU) the GPU's times are the host's.
"""

import time
from collections.abc import Callable
from typing import Any

from gpu_timing_assets.engines.vllm.surface import attention_backend

# an event's time counts from another event's in float32 ms: a hop keeps it exact to 0.1 µs
MAX_HOP_MS = 1000.0
# the host's time of an event is known to the shortest of these attempts
CLOCK_ATTEMPTS = 20


class StepTimer:
    """Methods for `collective_rpc`. A step is a call of `execute_model` that schedules tokens, and
    the `sample_tokens` after it; steps count from 0 from the first call of `count_steps`.
    """

    def count_steps(self) -> dict[str, Any]:
        """From here on steps are counted. Returns what only a worker knows of the engine."""
        import torch

        runner = self.model_runner  # type: ignore[attr-defined]
        self._on_gpu = torch.cuda.is_available()
        self._now: Callable[[], Any] = _cuda_event if self._on_gpu else time.monotonic_ns
        self._step = -1
        self._timed: list[tuple[Any, ...]] = []
        self._timing = False
        runner.execute_model = self._wrap_execute(runner.execute_model)
        runner.sample_tokens = self._wrap_sample(runner.sample_tokens)
        return attention_backend(self.vllm_config)  # type: ignore[attr-defined]

    def start_step_times(self) -> None:
        self._timing = True
        self._origin = _clock_pair() if self._on_gpu else None

    def stop_step_times(self) -> list[list[int]]:
        """Of each step since the start: number, tokens, requests, then on the monotonic clock in ns
        begin and end of `execute_model`, of `sample_tokens`, and of the step on the GPU.
        """
        self._timing = False
        device_ns = [now for step in self._timed for now in step[-2:]]
        if self._origin:
            device_ns = _event_times_ns(device_ns, self._origin, _clock_pair())
        times = zip(device_ns[::2], device_ns[1::2], strict=True)
        steps = [[*step[:-2], *of] for step, of in zip(self._timed, times, strict=True)]
        self._timed = []
        return steps

    def _wrap_execute(self, execute_model: Callable[..., Any]) -> Callable[..., Any]:
        def timed(scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
            tokens = getattr(scheduler_output, "total_num_scheduled_tokens", 0)
            if not tokens:
                return execute_model(scheduler_output, *args, **kwargs)
            self._step += 1
            if not self._timing:
                return execute_model(scheduler_output, *args, **kwargs)
            begin_ns = time.monotonic_ns()
            begin = self._now()
            output = execute_model(scheduler_output, *args, **kwargs)
            requests = len(scheduler_output.num_scheduled_tokens)
            self._executed = (self._step, tokens, requests, begin_ns, time.monotonic_ns(), begin)
            return output

        return timed

    def _wrap_sample(self, sample_tokens: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            if not self._timing:
                return sample_tokens(*args, **kwargs)
            begin_ns = time.monotonic_ns()
            output = sample_tokens(*args, **kwargs)
            end = self._now()
            *executed, begin = self._executed
            self._timed.append((*executed, begin_ns, time.monotonic_ns(), begin, end))
            return output

        return timed


def _cuda_event() -> Any:
    """On the stream of the model, recorded now."""
    import torch

    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _clock_pair() -> tuple[Any, int]:
    """An event of an idle device, and the host's time of it."""
    import torch

    torch.cuda.synchronize()
    pairs = []
    for _ in range(CLOCK_ATTEMPTS):
        begin_ns = time.monotonic_ns()
        event = _cuda_event()
        event.synchronize()
        end_ns = time.monotonic_ns()
        pairs.append((end_ns - begin_ns, event, (begin_ns + end_ns) // 2))
    _, event, host_ns = min(pairs, key=lambda pair: pair[0])
    return event, host_ns


def _event_times_ns(events: list[Any], first: tuple[Any, int], last: tuple[Any, int]) -> list[int]:
    """Host times of events in order, between two of which the host's time is known: the GPU's clock
    drifts against the host's by some µs a second.
    """
    (anchor, first_ns), anchor_ms, gpu_ms = first, 0.0, []
    for event in [*events, last[0]]:
        hop_ms = anchor.elapsed_time(event)
        gpu_ms.append(anchor_ms + hop_ms)
        if hop_ms > MAX_HOP_MS:
            anchor, anchor_ms = event, anchor_ms + hop_ms
    scale = (last[1] - first_ns) / gpu_ms[-1]
    return [first_ns + round(ms * scale) for ms in gpu_ms[:-1]]
