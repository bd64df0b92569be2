"""One start of an engine in a process that owns it: its device held, its settings filed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.files import Metadata, write_json
from gpu_timing_assets.core.provenance import environment
from gpu_timing_assets.engines.base import Engine, Report, engine_plugin
from gpu_timing_assets.engines.device import exclusive_device

SESSION_FILE = "session.json"


class Session(Metadata):
    """What the engine was and how long it took to start and to do its work (`session.json`)."""

    params: EngineParams
    env: dict[str, Any]
    engine_start_s: float
    work_s: float


@contextmanager
def engine_session(config: ExperimentConfig, scratch: Path, report: Report) -> Iterator[Engine]:
    """The started engine; `scratch` has the session's file once the block has ended well."""
    hardware, gpus = config.hardware, config.backend.tensor_parallel_size
    with exclusive_device(hardware, gpus, report) as device_name:
        report(f"starting {config.backend.name} for {config.model.name} on {hardware.name}")
        begin = time.monotonic()
        engine = engine_plugin(config.backend.name).start(config, scratch, device_name)
        started = time.monotonic()
        report(
            f"engine started in {started - begin:.0f} s: {engine.params.engine} "
            f"{engine.params.engine_version}"
        )
        yield engine
        session = Session(
            params=engine.params,
            env=environment(),
            engine_start_s=started - begin,
            work_s=time.monotonic() - started,
        )
        write_json(scratch / SESSION_FILE, session)
        engine.shutdown()
