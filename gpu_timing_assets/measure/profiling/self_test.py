"""A bundle proves itself: it simulates bursts that no fit has seen, and is held against what was
recorded of them, by the metrics of the project's comparison.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gpu_timing_assets.core.bundle import Frames, SelfTest
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.tables.schemas import BURST_REQUESTS, BURST_STEPS, BURST_TOKENS
from gpu_timing_assets.engine_loop.client import ClientLatency
from gpu_timing_assets.engine_loop.fit.durations import derive_steps
from gpu_timing_assets.engine_loop.fit.gpu import own_full_ratios, own_mixed_ratios
from gpu_timing_assets.engine_loop.fit.host import host_pace
from gpu_timing_assets.engine_loop.fit.rows import HELD_OUT, with_client_delays
from gpu_timing_assets.engine_loop.kernels import KernelTimes
from gpu_timing_assets.engine_loop.loop_timing import EngineTiming, LoopTiming
from gpu_timing_assets.engine_loop.serve import serve
from gpu_timing_assets.engine_loop.step_tables import token_times
from gpu_timing_assets.metrics.metric import Objective
from gpu_timing_assets.metrics.registry import METRICS
from gpu_timing_assets.metrics.served import Grid, ServedRun

SHOWN = (("ITL", "p50"), ("TPOT", "mean"), ("E2E", "p50"), ("TTFT", "p50"), ("TTFT", "p90"))
# what a bundle is refused for; the tail of a few dozen requests is chance
JUDGED = ("ITL p50", "TPOT mean", "E2E p50", "TTFT p50")
SEED = 0
ANY_OBJECTIVE = Objective(ttft_ms=1e9, tpot_ms=1e9)


@dataclass(frozen=True)
class _Tokens:
    """Of the requests of one burst, sorted by request and then by time; ns on the burst's clock."""

    requests: pd.DataFrame
    counts: np.ndarray
    time_ns: np.ndarray


def self_test(
    frames: Frames, params: EngineParams, kernels: KernelTimes, timing: EngineTiming
) -> SelfTest | None:
    """The errors of a simulation of the held-out bursts, all together; None if there are none.

    `layers_pct`: how far each layer alone lies from what the same bursts showed of it.
    """
    steps, requests = frames[BURST_STEPS], frames[BURST_REQUESTS]
    held_out, asked = steps[steps["kind"] == HELD_OUT], requests[requests["kind"] == HELD_OUT]
    if asked.empty:
        return None
    real = _figures([*_recorded(asked, frames[BURST_TOKENS])])
    modelled = simulated_figures(asked, params, kernels, timing)
    errors = {name: round(100 * (modelled[name] / real[name] - 1), 2) for name in real}
    return SelfTest(
        bursts=asked["burst"].nunique(),
        requests=len(asked),
        error_pct=errors,
        layers_pct=_layers_pct(derive_steps(held_out, params, kernels), params, timing),
    )


def simulated_figures(
    asked: pd.DataFrame, params: EngineParams, kernels: KernelTimes, timing: EngineTiming
) -> dict[str, float]:
    """By statistic (`ITL p50`), in ms: of all requests of the bursts `asked` (rows of
    `burst_requests.csv`), as they are simulated with this timing.
    """
    bursts = asked.sort_values("request_id").groupby("burst")
    return _figures([_simulated(requests, params, kernels, timing) for _, requests in bursts])


def worst_error(tested: SelfTest) -> tuple[str, float]:
    """The judged statistic that is farthest off, and by how many per cent."""
    name = max(JUDGED, key=lambda name: abs(tested.error_pct[name]))
    return name, tested.error_pct[name]


def _recorded(asked: pd.DataFrame, tokens: pd.DataFrame) -> Iterator[_Tokens]:
    by_burst = dict(iter(tokens.sort_values(["request_id", "client_ns"]).groupby("burst")))
    for burst, requests in asked.sort_values("request_id").groupby("burst"):
        made = by_burst[burst]
        counts = made.groupby("request_id").size().to_numpy()
        yield _Tokens(requests, counts, made["client_ns"].to_numpy())


def _simulated(
    requests: pd.DataFrame, params: EngineParams, kernels: KernelTimes, timing: EngineTiming
) -> _Tokens:
    client = ClientLatency(timing.client, np.random.default_rng([SEED, 1]))
    origin_ns = int(requests["arrival_ns"].min())
    arrival_s = (requests["arrival_ns"].to_numpy() - origin_ns) / 1e9
    visible_s = client.visible_s(arrival_s, requests["num_prefill_tokens"].to_numpy())
    loop = serve(requests, visible_s, params, LoopTiming(params, kernels, timing, SEED))
    request, time_ns = token_times(loop.steps, client)
    order = np.argsort(request, kind="stable")
    return _Tokens(requests, np.bincount(request), time_ns[order] + origin_ns)


def _figures(runs: list[_Tokens]) -> dict[str, float]:
    requests = pd.concat([run.requests for run in runs])
    grid = Grid(
        request_id=np.arange(len(requests)),
        arrival_ns=requests["arrival_ns"].to_numpy(dtype=np.int64),
        prefill_tokens=requests["num_prefill_tokens"].to_numpy(dtype=np.int64),
        tokens=np.concatenate([run.counts for run in runs]),
    )
    served = ServedRun(grid, np.concatenate([run.time_ns for run in runs]))
    return {
        f"{metric} {statistic}": METRICS[metric].figures(served, ANY_OBJECTIVE)[statistic]
        for metric, statistic in SHOWN
    }


def _layers_pct(
    held_out: pd.DataFrame, params: EngineParams, timing: EngineTiming
) -> dict[str, float]:
    """Fitted against measured, in per cent: host and client by their levels, the GPU by its
    steps.
    """
    ratios = {"host": host_pace(held_out, timing.host).of_steps / timing.host.pace.of_steps}
    if params.async_scheduling:
        own = own_full_ratios(held_out, timing.gpu), own_mixed_ratios(held_out, timing.gpu)
        ratios |= {
            name: float(np.median(found))
            for name, found in zip(("GPU, decode", "GPU, mixed"), own, strict=True)
            if len(found)
        }
    seen = with_client_delays(held_out[held_out["num_outputs"] > 0])
    out = timing.client.first_token_out
    fitted_ms = out.coefficients[0] + out.coefficients[1] * seen["num_outputs"]
    ratios["client"] = float((seen["out_first_ms"] / fitted_ms).median())
    return {name: round(100 * (1 / ratio - 1), 2) for name, ratio in ratios.items()}
