"""How fast the host was in the real runs, of what it was when the target was profiled."""

from pathlib import Path

from gpu_timing_assets.core.bundle import BUNDLE_META_FILE
from gpu_timing_assets.core.errors import SimulationError
from gpu_timing_assets.core.host_probe import host_ratio
from gpu_timing_assets.core.run import RUN_META_FILE, RealRunMeta, read_complete_run
from gpu_timing_assets.engine_loop.bundle import Bundle


def probed_host_ratio(bundle: Bundle, real_run_dir: Path) -> float:
    """From the probes beside every repeat of the session that `real_run_dir` is of, and the
    bundle's.

    Raises `SimulationError` where one side has none.
    """
    own = read_complete_run(real_run_dir, RealRunMeta, allow_invalid=True)
    siblings = real_run_dir.parent.glob(f"{own.run_id.removesuffix(f'-r{own.repeat}')}-r*")
    repeats = [
        read_complete_run(directory, RealRunMeta, allow_invalid=True)
        for directory in sorted(siblings)
        if (directory / RUN_META_FILE).is_file()
    ]
    beside = (probe for run in repeats for probe in (run.probe_before, run.probe_after))
    probes = [probe for probe in beside if probe is not None]
    if not probes:
        raise SimulationError(
            f"{real_run_dir / RUN_META_FILE} has no probe of the host's speed, by which "
            "simulator.host_speed=probed corrects: measure again with backend.probe_host=true and "
            "an engine that records its steps"
        )
    if not bundle.meta.host_probes:
        raise SimulationError(
            f"{bundle.root / BUNDLE_META_FILE} has no probe of the host's speed, by which "
            "simulator.host_speed=probed corrects: profile again (`vidur-profile --force`)"
        )
    return host_ratio(probes, bundle.meta.host_probes)
