"""What the workload's tests share: the samples, the tokenizer, and presets written as
dictionaries.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpu_timing_assets.config.experiment import ExperimentConfig, compose
from gpu_timing_assets.config.workload import WorkloadPreset
from gpu_timing_assets.core.workload import WorkloadMeta
from gpu_timing_assets.workload import run
from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.input_files import INPUT_ROOTS_VARIABLE
from gpu_timing_assets.workload.make_workload import make_requests
from gpu_timing_assets.workload.requests import Requests
from gpu_timing_assets.workload.tokenizer import WorkloadTokenizer, load_tokenizer

SAMPLES = Path(__file__).parent / "samples"

SYNTHETIC: dict[str, Any] = {
    "workload_id": "tiny",
    "seed": 5,
    "source": {"kind": "synthetic"},
    "num_requests": 20,
    "prefill_lengths": {"kind": "uniform", "minimum": 4, "maximum": 40},
    "decode_lengths": {"kind": "fixed", "tokens": 8},
    "arrivals": {"kind": "poisson", "rate_per_s": 10},
}


@pytest.fixture(autouse=True)
def _samples_may_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INPUT_ROOTS_VARIABLE, str(SAMPLES))


@pytest.fixture(scope="session")
def tokenizer() -> WorkloadTokenizer:
    return load_tokenizer()


@pytest.fixture(autouse=True)
def _tokenizer_is_loaded_once(
    monkeypatch: pytest.MonkeyPatch, tokenizer: WorkloadTokenizer
) -> None:
    # the real one, which takes a third of a second to load
    monkeypatch.setattr(
        "gpu_timing_assets.workload.make_workload.load_tokenizer", lambda weights: tokenizer
    )


@pytest.fixture(scope="session")
def base_config() -> ExperimentConfig:
    return compose()


@pytest.fixture
def config_of(base_config: ExperimentConfig, tmp_path: Path) -> Callable[..., ExperimentConfig]:
    """`config_of(**changes)`: the tiny synthetic workload with some of its keys replaced; a value
    of `None` removes one.
    """

    def build(**changes: Any) -> ExperimentConfig:
        preset = {
            key: value for key, value in {**SYNTHETIC, **changes}.items() if value is not None
        }
        return base_config.model_copy(
            update={"workload": WorkloadPreset.model_validate(preset), "data_root": str(tmp_path)}
        )

    return build


@pytest.fixture
def context_of(
    config_of: Callable[..., ExperimentConfig], tmp_path: Path, tokenizer: WorkloadTokenizer
) -> Callable[..., DrawContext]:
    """`context_of(**changes)`: what the parts of that workload are drawn with."""
    return lambda **changes: DrawContext(config_of(**changes).workload, tokenizer, tmp_path)


@pytest.fixture
def made(context_of: Callable[..., DrawContext]) -> Callable[..., Requests]:
    """`made(**changes)`: the requests of that workload, in memory."""
    return lambda **changes: make_requests(context_of(**changes))


@pytest.fixture
def written(
    config_of: Callable[..., ExperimentConfig], tmp_path: Path
) -> Callable[..., tuple[Path, WorkloadMeta]]:
    """`written(**changes)`: the directory of that workload and its metadata."""

    def write(**changes: Any) -> tuple[Path, WorkloadMeta]:
        config = config_of(**changes)
        out = config.data.workload_dir(config.workload.workload_id)
        return out, run(config, out)

    return write


@pytest.fixture
def from_trace(made: Callable[..., Requests]) -> Callable[..., Requests]:
    """`from_trace("azure_2023", "azure_2023.csv", **selection)`: the requests of a trace at its own
    times.
    """

    def build(trace_format: str, path: str | Path, **selection: Any) -> Requests:
        return made(
            source={
                "kind": "trace",
                "format": trace_format,
                "path": str(SAMPLES / path),
                **selection,
            },
            arrivals={"kind": "trace"},
            prefill_lengths=None,
            decode_lengths=None,
            num_requests=None,
        )

    return build
