"""Compares the runs that lie in the data root. Needs: a CPU, and the result of `make demo` or of
the other smoke tests.

Run it as a script (`python gpu_timing_assets_tests/manual/test_compare_runs_smoke.py [key=value
…]`, Hydra overrides choose workload and target) or by pytest, which skips it where there is nothing
to compare. The report goes to a temporary directory and is left there to be looked at.
"""

import sys
import tempfile
from pathlib import Path

import pytest

from gpu_timing_assets.compare import (
    ComparisonInputs,
    ComparisonResult,
    check_names,
    check_outcomes,
    error_table_markdown,
    run,
)
from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.store import Store


def compare_what_is_there(overrides: list[str], out: Path) -> ComparisonResult | None:
    """The comparison of the data root's runs, or `None` if a side is not there."""
    config = compose(overrides)
    store, subject = Store(config.data), (config.workload.workload_id, config.target)
    try:
        real, simulated = store.real_runs_of(*subject), store.sim_runs_of(*subject)
    except ArtifactError as error:
        print(error)
        return None
    if not real or not simulated:
        print(
            f"{len(real)} real runs and {len(simulated)} simulations of {config.comparison_id} in "
            f"{config.data.path}"
        )
        return None
    return run(config, ComparisonInputs(real, simulated), out / config.comparison_id)


def test_compare_runs_smoke(tmp_path: Path) -> None:
    result = compare_what_is_there([], tmp_path)
    if result is None:
        pytest.skip("nothing to compare in the data root: run `make demo` first")
    assert result.report.is_file()
    assert len(check_outcomes(result)) == len(check_names())


if __name__ == "__main__":
    made = compare_what_is_there(sys.argv[1:], Path(tempfile.mkdtemp()))
    if made is None:
        sys.exit("nothing to compare: run `make demo` first")
    print(error_table_markdown(made))
    for outcome in check_outcomes(made):
        print(
            f"{'passed' if outcome.passed else outcome.severity}: {outcome.name}: "
            f"{outcome.description}"
        )
    print(f"report: {made.report}")
