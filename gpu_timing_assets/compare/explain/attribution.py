"""Which layer of the simulation an error comes from, by substituting what the real engine did for
one layer at a time.

With the real engine's batches a simulation decides nothing: what the error e loses, e − e_b, is the
scheduler's share. The tokens of a request are then timed from where the real engine first scheduled
it, so its way from the client into a batch is in that share as well. With the real engine's step
times whole steps of the engine's loop are replayed, host, pipeline and GPU together: e − e_t is the
time model's share. What neither explains, e_b + e_t − e, is the latency from the engine to the
client, and what scheduler and time model do only together. The shares add up to e.
"""

from collections.abc import Iterable, Sequence

import pandas as pd

from gpu_timing_assets.compare.gate.align import Aligned, AlignedRun
from gpu_timing_assets.compare.judge.statistics import error_pct, run_statistics
from gpu_timing_assets.compare.result_table import ERROR_PCT, OF_STATISTIC, Column, table
from gpu_timing_assets.core.run import SimRunMeta
from gpu_timing_assets.metrics.metric import Metric, Objective
from gpu_timing_assets.metrics.registry import latencies

SCHEDULER, TIME_MODEL = "scheduler", "time model"
REST, UNSEPARATED = "rest (latency to the client, interaction)", "not separated"
LAYER_OF_SUBSTITUTION = {"recorded_batches": SCHEDULER, "recorded_step_times": TIME_MODEL}
ATTRIBUTION = table(
    "attribution",
    *OF_STATISTIC,
    Column("layer", "what the share is attributed to"),
    Column("share_pct", "the layer's part of error_pct, to which the layers sum", "%"),
    Column("substituted_error_pct", "error that is left with the layer substituted", "%"),
    ERROR_PCT,
)


def attribute(aligned: Aligned, metrics: Sequence[Metric], objective: Objective) -> pd.DataFrame:
    """One row for each simulation that has a substituted sibling (same predictor and host speed),
    statistic and layer.

    With one of the two substitutions missing, what it would have told apart is `not separated`.
    """
    real = [run_statistics(run, metrics, objective) for run in aligned.real]
    rows = []
    for simulation in aligned.simulated:
        siblings = _substituted(aligned, simulation)
        if not siblings:
            continue
        plain = run_statistics(simulation, metrics, objective)
        substituted = {
            layer: run_statistics(sibling, metrics, objective)
            for layer, sibling in siblings.items()
        }
        for metric, name in plain:
            reference = sum(figures[metric, name] for figures in real) / len(real)
            error = error_pct(plain[metric, name], reference)
            left = {
                layer: error_pct(figures[metric, name], reference)
                for layer, figures in substituted.items()
            }
            if error is None or any(value is None for value in left.values()):
                continue
            rows += [
                dict(
                    simulation=simulation.label,
                    metric=metric,
                    statistic=name,
                    layer=layer,
                    share_pct=share,
                    substituted_error_pct=left.get(layer),
                    error_pct=error,
                )
                for layer, share in _shares(error, left).items()
            ]
    return ATTRIBUTION.frame(rows)


def _shares(error: float, left: dict[str, float | None]) -> dict[str, float]:
    shares = {layer: error - value for layer, value in left.items() if value is not None}
    remainder = REST if len(shares) == len(LAYER_OF_SUBSTITUTION) else UNSEPARATED
    return {**shares, remainder: error - sum(shares.values())}


def _substituted(aligned: Aligned, simulation: AlignedRun) -> dict[str, AlignedRun]:
    """The simulation's siblings, by the layer that they have substituted."""
    return {
        LAYER_OF_SUBSTITUTION[other.run.substitution]: other
        for other in aligned.substituted
        if other.run.substitution in LAYER_OF_SUBSTITUTION
        and _time_model(other) == _time_model(simulation)
    }


def _time_model(run: AlignedRun) -> tuple[str, str] | None:
    meta = run.run.meta
    return (meta.simulator, meta.plain_label) if isinstance(meta, SimRunMeta) else None


def layer_sentence(shares: pd.DataFrame, metrics: Iterable[Metric]) -> str | None:
    """Which layer holds most of one simulation's error, counted over the statistics of the
    latencies; `None` without substitutions.
    """
    names = [metric.name for metric in latencies(metrics)]
    chosen = shares[shares["metric"].isin(names)]
    if chosen.empty:
        return None
    largest = largest_layers(chosen)["layer"].value_counts()
    sizes = chosen["share_pct"].abs().groupby(chosen["layer"], sort=False).mean()
    parts = ", ".join(
        f"{layer} {size:.1f} %" for layer, size in sizes.sort_values(ascending=False).items()
    )
    return (
        f"Largest share in {largest.iloc[0]} of {largest.sum()} statistics: {largest.index[0]}. "
        f"Mean absolute share: {parts}."
    )


def largest_layers(shares: pd.DataFrame) -> pd.DataFrame:
    """For each statistic of one simulation, the layer with the largest absolute share."""
    sizes = shares["share_pct"].abs()
    return shares.loc[sizes.groupby([shares["metric"], shares["statistic"]], sort=False).idxmax()]
