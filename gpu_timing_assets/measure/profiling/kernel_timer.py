"""How long an operator takes on a device.

On a GPU it is captured into a CUDA graph that calls it once for each of several layers with weights
(or KV caches) of their own, so that nothing stays in the L2 cache between calls; the graph's replay
time over the number of layers is the operator's time, launch gaps inside a graph included. On a CPU
the calls are timed one by one.
"""

import time

import numpy as np

from gpu_timing_assets.engines.base import Operator
from gpu_timing_assets.measure.profiling.parts import KernelTime


class KernelTimer:
    """Times operators on `device` (`cpu` or `cuda`), `repeats` times after `warmup_repeats`."""

    def __init__(self, device: str, repeats: int, warmup_repeats: int) -> None:
        import torch

        self._torch, self._device = torch, device
        self._repeats, self._warmup_repeats = repeats, warmup_repeats

    def time(self, operator: Operator) -> KernelTime:
        with self._torch.inference_mode():
            on_cpu = self._device == "cpu"
            times = self._time_calls(operator) if on_cpu else self._time_graph(operator)
        return KernelTime(
            operator=operator.name,
            min=float(times.min()),
            max=float(times.max()),
            mean=float(times.mean()),
            median=float(np.median(times)),
            std=float(times.std()),
        )

    def _time_graph(self, operator: Operator) -> np.ndarray:
        """Shape (repeats,), ms of one call."""
        cuda = self._torch.cuda
        stream = cuda.Stream()
        with cuda.stream(stream):
            for layer in range(operator.num_layers):
                operator.call(layer)
        cuda.synchronize()
        graph = cuda.CUDAGraph()
        with operator.capture(), cuda.graph(graph, stream=stream):
            for _ in range(operator.calls):
                for layer in range(operator.num_layers):
                    operator.call(layer)
        events = [
            (cuda.Event(enable_timing=True), cuda.Event(enable_timing=True))
            for _ in range(self._warmup_repeats + self._repeats)
        ]
        for begin, end in events:
            begin.record()
            graph.replay()
            end.record()
        cuda.synchronize()
        measured = events[self._warmup_repeats :]
        replay_ms = np.array([begin.elapsed_time(end) for begin, end in measured])
        return replay_ms / (operator.num_layers * operator.calls)

    def _time_calls(self, operator: Operator) -> np.ndarray:
        """Shape (repeats,), ms of one call."""
        for repeat in range(self._warmup_repeats):
            operator.call(repeat % operator.num_layers)
        times = []
        for repeat in range(self._repeats):
            layer = repeat % operator.num_layers
            begin = time.perf_counter_ns()
            for _ in range(operator.calls):
                operator.call(layer)
            times.append((time.perf_counter_ns() - begin) / 1e6 / operator.calls)
        return np.array(times)
