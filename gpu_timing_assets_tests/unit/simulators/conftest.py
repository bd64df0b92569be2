"""What the simulators' tests share: a tiny bundle, made once."""

from pathlib import Path

import pytest

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import target_config, write_bundle


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> ExperimentConfig:
    return target_config(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def bundle(config: ExperimentConfig) -> Path:
    """The bundle's root; nobody writes to it."""
    return write_bundle(config.data.profiling_root(config.hardware.name, config.model.name), config)
