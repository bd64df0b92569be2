"""Which layer of the simulation an error comes from, by substituting what the real engine did for
one layer at a time.

With the real batches in place of the scheduler's, no scheduler error is left: what the error loses
is the scheduler's share. With the real step times in place of the time model's, the same for the
time model. What neither explains is the rest: host, pipeline, edges, and what scheduler and time
model only do together. The shares add up to the error.
"""

import pandas as pd

from gpu_timing_assets.compare.gate.align import Aligned, Series
from gpu_timing_assets.compare.judge.statistics import METRICS, Objective, error_pct, run_statistics
from gpu_timing_assets.core.run import SimRunMeta

SCHEDULER, TIME_MODEL, REST, UNSEPARATED = (
    "scheduler",
    "time model",
    "rest (host, pipeline, edges)",
    "not separated",
)
LAYER_OF_SUBSTITUTION = {"recorded_batches": SCHEDULER, "recorded_step_times": TIME_MODEL}


def attribute(aligned: Aligned, objective: Objective) -> pd.DataFrame:
    """One row for each simulation that has a substituted sibling (same predictor), statistic and
    layer.

    `share_pct` is the layer's part of the signed error, in percent of the real value; the layers of
    a statistic sum to `error_pct`. With one of the two substitutions missing, what it would have
    told apart is `not separated`.
    """
    columns = [
        "simulation",
        "metric",
        "statistic",
        "layer",
        "share_pct",
        "substituted_error_pct",
        "error_pct",
    ]
    real = [run_statistics(series, objective) for series in aligned.real]
    rows = []
    for series in aligned.simulated:
        siblings = _substituted(aligned, series)
        if not siblings:
            continue
        plain = run_statistics(series, objective)
        substituted = {
            layer: run_statistics(sibling, objective) for layer, sibling in siblings.items()
        }
        for key in ((metric.name, name) for metric in METRICS for name in metric.statistics):
            reference = sum(figures[key] for figures in real) / len(real)
            error = error_pct(plain[key], reference)
            left = {
                layer: error_pct(figures[key], reference) for layer, figures in substituted.items()
            }
            if error is None or any(value is None for value in left.values()):
                continue
            shares = {layer: error - value for layer, value in left.items() if value is not None}
            remainder = REST if len(shares) == len(LAYER_OF_SUBSTITUTION) else UNSEPARATED
            shares[remainder] = error - sum(shares.values())
            rows += [
                (series.label, *key, layer, share, left.get(layer), error)
                for layer, share in shares.items()
            ]
    return pd.DataFrame(rows, columns=columns)


def _substituted(aligned: Aligned, series: Series) -> dict[str, Series]:
    predictor = _predictor(series)
    return {
        LAYER_OF_SUBSTITUTION[other.run.substitution]: other
        for other in aligned.substituted
        if other.run.substitution in LAYER_OF_SUBSTITUTION and _predictor(other) == predictor
    }


def _predictor(series: Series) -> str | None:
    meta = series.run.meta
    return meta.predictor or meta.simulator if isinstance(meta, SimRunMeta) else None


def largest_layers(table: pd.DataFrame, simulation: str) -> pd.DataFrame:
    """For each statistic of a simulation, the layer with the largest absolute share."""
    chosen = table[table["simulation"] == simulation]
    if chosen.empty:
        return chosen
    order = (
        chosen["share_pct"]
        .abs()
        .groupby([chosen["metric"], chosen["statistic"]], sort=False)
        .idxmax()
    )
    return chosen.loc[order]
