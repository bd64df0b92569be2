"""How a page writes a figure, an error and the verdict's table; light to import."""

from collections.abc import Iterable

from gpu_timing_assets.core.comparison import ComparisonResult, VerdictRow


def signed_pct(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f} %"


def unsigned_pct(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"


def interval_text(row: VerdictRow) -> str:
    if row.low_pct is None or row.high_pct is None:
        return "–"
    return f"{row.low_pct:+.1f} … {row.high_pct:+.1f} %"


def figure_text(value: float) -> str:
    """Four significant digits, with thousands separated and no exponent."""
    if value != value:
        return "–"
    whole_digits = len(str(int(abs(value))))
    return f"{value:,.{max(0, 4 - whole_digits)}f}"


def error_table_markdown(result: ComparisonResult) -> str:
    """The verdict of every simulation as a Markdown table, as commands print it."""
    return verdict_markdown(result.verdicts, result.meta.confidence_pct)


def verdict_markdown(verdicts: Iterable[VerdictRow], confidence_pct: float) -> str:
    lines = [
        "| simulation | metric | statistic | real | simulated | error | "
        f"{confidence_pct:g} % interval | noise | prediction noise | verdict |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    lines += [
        f"| {row.simulation} | {row.metric} | {row.statistic} "
        f"| {figure_text(row.real)} {row.unit} | {figure_text(row.simulated)} {row.unit} "
        f"| {signed_pct(row.error_pct)} | {interval_text(row)} | {unsigned_pct(row.noise_pct)} "
        f"| {unsigned_pct(row.prediction_noise_pct)} | {row.verdict} |"
        for row in verdicts
    ]
    return "\n".join(lines) + "\n"
