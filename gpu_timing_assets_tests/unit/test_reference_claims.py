"""What `make reference` claims covers every judged figure of every workload."""

from gpu_timing_assets.core.comparison import VerdictRow
from gpu_timing_assets.reference import ReferenceCase, claims

A = ReferenceCase("h100", "a", 1, "w", ())
B = ReferenceCase("h100", "b", 1, "w", ())
HOST_PACED = ReferenceCase("h100", "qwen3-0.6b", 1, "w", ())


def figure(
    error_pct: float | None,
    noise_pct: float | None,
    statistic: str = "p50",
    simulation: str = "engine_loop",
) -> VerdictRow:
    return VerdictRow(
        simulation, "ITL", statistic, "ms", 1.0, 1.0, error_pct, None, None, noise_pct, verdict="–"
    )


def test_a_figure_is_within_its_bound_within_the_noise_or_beyond_both() -> None:
    rows = [figure(-2.0, 0.1), figure(3.0, 4.0), figure(-3.0, 2.9), figure(3.0, None)]
    assert list(claims((A, row) for row in rows)) == [
        "h100 a, engine_loop: of 4 figures 1 within their bound, 1 more within the noise, 2 beyond"
    ]


def test_a_figure_whose_error_is_not_known_is_beyond() -> None:
    assert "0 more within the noise, 1 beyond" in next(claims([(A, figure(None, 50.0))]))


def test_targets_and_simulations_are_counted_apart() -> None:
    corrected = figure(0.0, 0.0, simulation="engine_loop at the runs' host speed")
    found = list(claims([(A, figure(0.0, 0.0)), (B, figure(9.0, 0.0)), (A, corrected)]))
    assert [line.partition(":")[0] for line in found] == [
        "h100 a, engine_loop",
        "h100 a, engine_loop at the runs' host speed",
        "h100 b, engine_loop",
    ]


def test_figures_without_a_bound_and_simulations_without_a_host_are_not_counted() -> None:
    rows = [figure(0.0, 0.0, statistic="p99"), figure(0.0, 0.0, simulation="kernels_only")]
    assert list(claims((A, row) for row in rows)) == []


def test_a_model_whose_steps_the_host_paces_has_wider_bounds() -> None:
    rows = [figure(4.9, 0.0), figure(5.1, 0.0)]
    assert "1 within their bound, 0 more within the noise, 1 beyond" in next(
        claims((HOST_PACED, row) for row in rows)
    )
    assert "0 within their bound" in next(claims((A, row) for row in rows))
