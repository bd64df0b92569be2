"""The port of the simulators: what each gets, what it gives back, and how it makes itself known.

A simulator registers a `Simulator` under the entry points `gpu_timing_assets.simulators`. It
computes; reading, checking and filing is the stage's (see `stage`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpu_timing_assets.config.simulator import SimulatorPreset
from gpu_timing_assets.core.run import TOKEN_TIMES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from gpu_timing_assets.config.experiment import ExperimentConfig
    from gpu_timing_assets.core.engine_params import EngineParams
    from gpu_timing_assets.engine_loop.bundle import Bundle


@dataclass(frozen=True)
class SimInputs:
    """The directories that the stage reads.

    `real_run_dir` is needed by a substitution, which puts in what that run recorded, and by a
    closed-loop workload, whose arrivals it recorded.
    """

    workload_dir: Path
    profiling_root: Path
    real_run_dir: Path | None = None


@dataclass(frozen=True)
class Work:
    """The requests: `lengths` is `trace_lengths.csv`; `arrival_time_ns` is planned, or of a closed
    loop recorded, shape (requests,).
    """

    lengths: "pd.DataFrame"
    arrival_time_ns: "np.ndarray"


@dataclass(frozen=True)
class SimulatedRun:
    """What a simulator gives back: the run's tables (see `core.tables.schemas`), and facts.

    `tokens` is None if it has no time for each token. `params` are the engine's settings that it
    simulated. `predictor`, `substitution`, `seed`, `host_ratio`, `extrapolated`: see
    `core.run.SimRunMeta`.
    `event_loop_s`: how long the simulation itself took, without its preparation.
    """

    requests: "pd.DataFrame"
    tokens: "pd.DataFrame | None"
    params: "EngineParams"
    steps: "pd.DataFrame | None" = None
    batches: "pd.DataFrame | None" = None
    predictor: str | None = None
    substitution: str | None = None
    seed: int | None = None
    host_ratio: float | None = None
    extrapolated: bool = False
    event_loop_s: float | None = None


Simulate = Callable[[Work, "ExperimentConfig", "Bundle | None", "Path | None"], SimulatedRun]


@dataclass(frozen=True)
class Simulator:
    """A simulator, its preset, and what can be asked of it.

    `simulate(work, config, bundle, real_run_dir)` simulates the work on the configured target with
    the options in `config.simulator`. The bundle is there if `reads_bundle`, the real run if the
    preset or a closed loop needs one. It files nothing; what a user can mend is a `GpuTimingError`.

    `gives`: what its tables hold beyond the times of the first and last token.
    `simulated_settings`: the fields of `EngineParams` that it takes account of, None for all but
    `enable_prefix_caching`, which is believed only of one that names it.
    """

    name: str
    preset: type[SimulatorPreset]
    simulate: Simulate
    gives: tuple[str, ...] = (TOKEN_TIMES,)
    reads_bundle: bool = True
    simulated_settings: tuple[str, ...] | None = None
