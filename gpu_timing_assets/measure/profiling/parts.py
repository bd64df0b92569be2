"""What an interrupted profile has measured, kept beside the bundle for the next one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from gpu_timing_assets.core.data_root import check_name
from gpu_timing_assets.core.files import Metadata, read_metadata, write_json
from gpu_timing_assets.core.host_probe import HostProbe

BURSTS_DIR, PROBES_FILE = "bursts", "host_probes.json"
# parts that another release wrote otherwise are not gone on with
FORMAT = 3


class Probes(Metadata):
    """The probes of the host's speed, in the order they were played."""

    played: tuple[HostProbe, ...]


class KernelTime(Metadata):
    """The median, extremes, mean and spread of one operator's times, in ms."""

    operator: str
    min: float
    max: float
    mean: float
    median: float
    std: float


class LinearTime(Metadata):
    num_tokens: int
    time: KernelTime


class HeadTime(Metadata):
    num_requests: int
    time: KernelTime


class AttentionTime(Metadata):
    """Of one batch: attention, and the writing of its new keys and values into the cache."""

    batch_size: int
    prefill_chunk_size: int
    kv_cache_size: int
    attend: KernelTime
    save: KernelTime


RowT = TypeVar("RowT", bound=Metadata)


class Timings(Metadata, Generic[RowT]):
    rows: tuple[RowT, ...]
    duration_s: float


@dataclass(frozen=True)
class Part(Generic[RowT]):
    """A part of the kernels: its file, the name that a person knows it by, and its rows."""

    file: str
    what: str
    row: type[RowT]

    def is_in(self, parts: Path) -> bool:
        return (parts / self.file).is_file()

    def read(self, parts: Path) -> Timings[RowT]:
        """Raises `ArtifactError` naming the file and what is wrong with it."""
        return read_metadata(parts / self.file, Timings[self.row])  # type: ignore[name-defined]

    def write(self, rows: Sequence[RowT], duration_s: float, parts: Path) -> None:
        """Under its name once it is whole."""
        scratch = (parts / self.file).with_suffix(".tmp")
        write_json(scratch, Timings[RowT](rows=tuple(rows), duration_s=duration_s))
        scratch.rename(parts / self.file)


LINEARS = Part("linear_times.json", "linears and norms", LinearTime)
HEADS = Part("head_times.json", "lm_head and sampler", HeadTime)
ATTENTION_CASES = Part("attention_times.json", "attention", AttentionTime)
ALL_REDUCES = Part("all_reduce_times.json", "all-reduce", LinearTime)
LOGITS_GATHERS = Part("logits_gather_times.json", "gathering of the logits", HeadTime)
COLLECTIVE_PARTS = (ALL_REDUCES, LOGITS_GATHERS)


def kernel_parts(tensor_parallel_size: int) -> tuple[Part[Any], ...]:
    """The parts that make a bundle of so many GPUs, beside the bursts."""
    parts = (LINEARS, HEADS, ATTENTION_CASES)
    return parts if tensor_parallel_size == 1 else (*parts, *COLLECTIVE_PARTS)


def parts_dir(out: Path, config_sha256: str, engine_version: str | None) -> Path:
    """Where the measured parts of one configuration and engine version of bundle `out` lie."""
    engine = check_name(engine_version or "elsewhere", "engine version", r"^[A-Za-z0-9][\w.+!-]*$")
    return out.parent / f".unfinished-parts-{out.name}-{config_sha256[:16]}-{engine}-{FORMAT}"
