"""What the templates of a report are given."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from gpu_timing_assets.compare.caveats import Caveats
from gpu_timing_assets.compare.explain import attribution, distances, host_speed, phases
from gpu_timing_assets.compare.explain.batch_agreement import BATCH_AGREEMENT, FIRST_DIFFERENCE
from gpu_timing_assets.compare.explain.request_pairs import REQUEST_PAIRS
from gpu_timing_assets.compare.findings import Findings
from gpu_timing_assets.compare.gate.align import Aligned
from gpu_timing_assets.compare.gate.completeness import COMPLETENESS, EXCLUDED
from gpu_timing_assets.compare.gate.settings import PARITY
from gpu_timing_assets.compare.show.text import signed_pct, verdict_markdown
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.core.comparison import FAIL, WARN, VerdictRow, verdict_counts
from gpu_timing_assets.metrics.registry import latencies

MAX_BATCH_LINES = 24


def report_content(
    comparison_id: str,
    aligned: Aligned,
    findings: Findings,
    preset: ComparisonPreset,
    known: Caveats,
) -> dict[str, Any]:
    meta = aligned.real[0].run.meta
    judged = findings.judged_rows
    parity = findings.tables[PARITY]
    shares = findings.of_judged(attribution.ATTRIBUTION)
    statistics = (name for metric in latencies(findings.metrics) for name in metric.statistics)
    return {
        "comparison_id": comparison_id,
        "meta": meta,
        "params": meta.params.model_dump(mode="json"),
        "preset": preset,
        "primary": findings.judged,
        "simulations": [run.label for run in aligned.simulated],
        "real_runs": [run.run.meta.run_id for run in aligned.real],
        "requests": len(aligned.grid),
        "tokens": int(aligned.grid.tokens.sum()),
        "verdict_table": verdict_markdown(findings.verdicts, preset.confidence_pct),
        "statistics": list(dict.fromkeys(statistics)),
        "matrix": _lines(findings, judged),
        "beside": _lines(findings, findings.verdicts),
        "counts": verdict_counts(judged),
        "headline": headline(judged),
        "phases": _rows(findings.of_judged(phases.PHASES)),
        "distances": _rows(findings.of_judged(distances.DISTANCES)),
        "pairs": _rows(findings.of_judged(REQUEST_PAIRS)),
        "attribution": _attribution(shares),
        "layers": attribution.layer_sentence(shares, findings.metrics),
        "agreement": _rows(findings.tables[BATCH_AGREEMENT]),
        "difference": _first_difference(findings),
        "hosts": _rows(findings.tables[host_speed.HOST_SPEED]),
        "completeness": _rows(findings.tables[COMPLETENESS]),
        "excluded": _rows(findings.tables[EXCLUDED]),
        "parity": _rows(parity[parity["parity"].isin(["refuses", "listed"])]),
        "metrics": findings.metrics,
        "overridden": known.overridden,
        "notes": [note for note in known.notes if note not in known.overridden],
    }


def headline(rows: list[VerdictRow]) -> str:
    """One sentence: how many statistics hold, and which is worst."""
    judged = [row for row in rows if row.error_pct is not None]
    bad = [row for row in judged if row.verdict in (WARN, FAIL)]
    good = len(judged) - len(bad)
    if not judged:
        return "No statistic is defined on these runs."
    if not bad:
        return f"All {good} statistics pass or lie below the noise of the real engine."
    worst = max(bad, key=lambda row: abs(row.error_pct or 0.0))
    return (
        f"{good} of {len(judged)} statistics pass or lie below the noise of the real engine; "
        f"the worst of the others is {worst.metric} {worst.statistic} at "
        f"{signed_pct(worst.error_pct)}."
    )


def _lines(findings: Findings, rows: Iterable[VerdictRow]) -> list[dict[str, Any]]:
    """A line for each metric and simulation; its `cells` by statistic."""
    lines: dict[tuple[str, str], dict[str, VerdictRow]] = {}
    for row in rows:
        lines.setdefault((row.metric, row.simulation), {})[row.statistic] = row
    return [
        dict(metric=metric.name, simulation=simulation, cells=cells)
        for metric in findings.metrics
        for (name, simulation), cells in lines.items()
        if name == metric.name
    ]


def _attribution(shares: pd.DataFrame) -> dict[str, Any]:
    """Layers and, for each statistic, its share of each and their sum."""
    layers = list(dict.fromkeys(shares["layer"]))
    rows = []
    for (metric, name), group in shares.groupby(["metric", "statistic"], sort=False):
        by_layer = dict(zip(group["layer"], group["share_pct"], strict=True))
        rows.append(
            dict(
                statistic=f"{metric} {name}",
                shares=[by_layer.get(layer) for layer in layers],
                total=sum(by_layer.values()),
            )
        )
    return {"layers": layers, "rows": rows}


def _first_difference(findings: Findings) -> dict[str, Any] | None:
    """Both batches at the first step where the judged simulation and a real run differ."""
    pairs = findings.tables[BATCH_AGREEMENT]
    differing = (pairs["other"] == findings.judged) & pairs["first_different_step"].notna()
    if not differing.any():
        return None
    pair = pairs[differing].iloc[0]
    entries, runs = findings.tables[FIRST_DIFFERENCE], ["real_run", "other_run"]
    entries = entries[entries[runs].eq(pair[runs]).all(axis=1)]
    real, simulated = (
        entries[entries["in_run"] == pair[run]]
        .set_index("request_id")["num_scheduled_tokens"]
        .to_dict()
        for run in runs
    )
    rows = [
        dict(request=request, real=real.get(request), simulated=simulated.get(request))
        for request in sorted(real.keys() | simulated.keys())
    ]
    rows.sort(key=lambda row: row["real"] == row["simulated"])
    return {
        "step": int(pair["first_different_step"]),
        "real_run": pair["real_run"],
        "rows": rows[:MAX_BATCH_LINES],
        "requests": len(rows),
        "differing": sum(row["real"] != row["simulated"] for row in rows),
    }


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dicts, with what is not a number as `None`."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]
