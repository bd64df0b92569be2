"""Whether an error lies before or after a request's first token."""

import numpy as np
import pandas as pd

from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.judge.statistics import error_pct, noise_pct
from gpu_timing_assets.compare.result_table import ERROR_PCT, SIMULATION, Column, table
from gpu_timing_assets.metrics.e2e import e2e_ms
from gpu_timing_assets.metrics.served import ServedRun
from gpu_timing_assets.metrics.ttft import ttft_ms

PHASES = table(
    "phases",
    SIMULATION,
    Column("phase", "prefill: arrival → first token; decode: first → last token; total: both"),
    Column("real_ms", "mean over requests and real runs", "ms"),
    Column("simulated_ms", "mean over requests", "ms"),
    Column("error_ms", "simulated − real", "ms"),
    ERROR_PCT,
    Column("contribution_pct", "error_ms in percent of the real total", "%"),
    Column("noise_pct", "largest difference between two real runs, of their mean", "%"),
)


def phase_errors(aligned: Aligned) -> pd.DataFrame:
    """Mean E2E of a request, split at its first token: prefill (queueing too) and decode.

    `contribution_pct` is the phase's error in percent of the real E2E, so that the two add up to
    the error of E2E: errors that cancel in the total show here.
    """
    real_runs = [_phases_ms(run) for run in aligned.real]
    total = float(np.mean([phases["total"] for phases in real_runs]))
    rows = []
    for simulation in aligned.simulated:
        for phase, simulated in _phases_ms(simulation).items():
            each = [phases[phase] for phases in real_runs]
            real = float(np.mean(each))
            rows.append(
                dict(
                    simulation=simulation.label,
                    phase=phase,
                    real_ms=real,
                    simulated_ms=simulated,
                    error_ms=simulated - real,
                    error_pct=error_pct(simulated, real),
                    contribution_pct=error_pct(total + simulated - real, total),
                    noise_pct=noise_pct(each),
                )
            )
    return PHASES.frame(rows)


def _phases_ms(run: ServedRun) -> dict[str, float]:
    prefill, total = float(ttft_ms(run).mean()), float(e2e_ms(run).mean())
    return {"prefill": prefill, "decode": total - prefill, "total": total}
