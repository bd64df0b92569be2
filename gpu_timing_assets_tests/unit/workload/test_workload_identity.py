"""A complete workload never changes: the same preset gives the same directory, another preset an
error that says why.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpu_timing_assets.config.experiment import load_snapshot
from gpu_timing_assets.core.closed_loop import read_closed_loop
from gpu_timing_assets.core.errors import ArtifactError, WorkloadError
from gpu_timing_assets.core.manifest import MANIFEST_FILE
from gpu_timing_assets.core.prompts import read_prompt_token_ids
from gpu_timing_assets.core.tables.invariants import read_workload_tables
from gpu_timing_assets.workload import run


def content(directory: Path) -> dict[str, bytes]:
    """Every file but the page, in which the drawing library numbers its gradients anew each time,
    and the manifest, which has its hash.
    """
    return {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if path.name not in ("workload.html", MANIFEST_FILE)
    }


def test_the_same_preset_verifies_and_reuses_what_is_there(written: Callable[..., Any]) -> None:
    directory, first = written()
    before = {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}
    assert written() == (directory, first)
    assert {path.name: path.stat().st_mtime_ns for path in directory.iterdir()} == before


def test_a_workload_can_be_made_again_from_its_snapshot_alone(
    written: Callable[..., Any], tmp_path: Path
) -> None:
    directory, _ = written()
    run(load_snapshot(directory), tmp_path / "again")
    assert content(tmp_path / "again") == content(directory)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 6}, "workload.seed was 5, is 6"),
        (
            {"arrivals": {"kind": "poisson", "rate_per_s": 11}},
            "workload.arrivals.rate_per_s was 10.0, is 11.0",
        ),
        (
            {"decode_lengths": {"kind": "uniform", "minimum": 8, "maximum": 8}},
            "workload.decode_lengths.kind was 'fixed', is 'uniform'",
        ),
        ({"num_requests": 21}, "workload.num_requests was 20, is 21"),
    ],
)
def test_a_changed_preset_under_an_old_id_is_an_error_that_says_what_changed(
    written: Callable[..., Any], changes: dict[str, Any], difference: str
) -> None:
    directory, _ = written()
    before = content(directory)
    with pytest.raises(WorkloadError) as caught:
        written(**changes)
    assert difference in str(caught.value)
    assert "another workload_id" in str(caught.value)
    assert content(directory) == before


def test_a_changed_prompt_file_is_a_change_of_the_workload(
    written: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt_id": "a", "text": "Hi"}\n')
    source = {"source": {"kind": "prompt_file", "path": str(path)}, "prefill_lengths": None}
    written(**source)
    path.write_text('{"prompt_id": "a", "text": "Ho"}\n')
    with pytest.raises(WorkloadError, match=r"files_sha256\..*prompts\.jsonl was"):
        written(**source)


@pytest.mark.parametrize("file", ["trace_lengths.csv", "trace_intervals.csv", "prompts.jsonl"])
def test_a_file_that_was_changed_is_an_error(written: Callable[..., Any], file: str) -> None:
    directory, _ = written()
    (directory / file).write_bytes((directory / file).read_bytes() + b"\n")
    with pytest.raises(ArtifactError):
        written()


def test_a_directory_that_is_no_workload_is_left_alone(
    written: Callable[..., Any], tmp_path: Path
) -> None:
    notes = tmp_path / "workloads" / "tiny" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("keep me")
    with pytest.raises(WorkloadError, match="no workload; move it away"):
        written()
    assert notes.read_text() == "keep me"


def test_the_target_is_no_part_of_a_workload(
    config_of: Callable[..., Any], written: Callable[..., Any]
) -> None:
    directory, meta = written()
    config = config_of()
    other = config.model_copy(
        update={"backend": config.backend.model_copy(update={"max_num_seqs": 3})}
    )
    assert run(other, directory) == meta


def test_a_workload_that_is_there_is_held_against_the_context_of_the_target_at_hand(
    config_of: Callable[..., Any], written: Callable[..., Any]
) -> None:
    directory, meta = written()
    config = config_of()
    small = config.model_copy(
        update={"backend": config.backend.model_copy(update={"max_model_len": 32})}
    )
    assert meta.longest_request_tokens > 32
    with pytest.raises(WorkloadError, match="are longer than the context of 32 tokens"):
        run(small, directory)


def test_what_is_written_reads_back_as_the_requests_that_were_made(
    written: Callable[..., Any], made: Callable[..., Any]
) -> None:
    requests = made()
    lengths, intervals = read_workload_tables(written()[0])
    assert lengths["num_prefill_tokens"].tolist() == requests.num_prefill_tokens.tolist()
    assert lengths["prompt_id"].tolist() == requests.prompts.prompt_ids
    assert intervals["arrival_time_ns"].tolist() == requests.arrival_time_ns.tolist()


lengths_strategy = st.one_of(
    st.builds(lambda tokens: {"kind": "fixed", "tokens": tokens}, st.integers(1, 2_000)),
    st.builds(
        lambda sigma: {"kind": "lognormal", "median": 90, "sigma": sigma, "maximum": 2_000},
        st.floats(0, 4),
    ),
    st.builds(
        lambda exponent: {"kind": "zipf", "exponent": exponent, "maximum": 2_000}, st.floats(0.2, 5)
    ),
)
arrivals_strategy = st.one_of(
    st.builds(
        lambda rate, cv: {"kind": "gamma", "rate_per_s": rate, "cv": cv},
        st.floats(0.1, 1e5),
        st.floats(0.1, 5),
    ),
    st.builds(
        lambda users: {"kind": "closed_loop", "users": users, "think_time_s": 0.3},
        st.integers(1, 40),
    ),
    st.just({"kind": "all_at_once"}),
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    prefill=lengths_strategy,
    decode=lengths_strategy,
    arrivals=arrivals_strategy,
    count=st.integers(1, 60),
)
def test_any_workload_reads_back_with_its_invariants_whole(
    config_of: Callable[..., Any], prefill: Any, decode: Any, arrivals: Any, count: int
) -> None:
    config = config_of(
        prefill_lengths=prefill, decode_lengths=decode, arrivals=arrivals, num_requests=count
    )
    with tempfile.TemporaryDirectory() as root:
        meta = run(config, Path(root, "tiny"))
        # the reader refuses ids with gaps, arrivals that are not the sums of their intervals,
        # negative numbers
        lengths, intervals = read_workload_tables(Path(root, "tiny"))
        prompts = read_prompt_token_ids(Path(root, "tiny"))
    assert len(lengths) == len(intervals) == meta.num_requests == count
    assert (lengths["num_prefill_tokens"] + lengths["num_decode_tokens"]).max() <= 4_096
    assert intervals["arrival_time_ns"].iloc[-1] == meta.duration_ns
    assert [len(prompt) for prompt in prompts] == lengths["num_prefill_tokens"].tolist()


def test_a_closed_loop_says_who_sends_what_and_when(written: Callable[..., Any]) -> None:
    directory, meta = written(arrivals={"kind": "closed_loop", "users": 4, "think_time_s": 0.5})
    loop = read_closed_loop(directory)
    assert loop is not None
    assert sorted(set(loop["user_id"])) == [0, 1, 2, 3]
    assert meta.closed_loop.users == 4
    _, intervals = read_workload_tables(directory)
    own = loop["user_id"] == 2
    assert (
        intervals.loc[own, "arrival_time_ns"].tolist()
        == loop.loc[own, "think_time_ns"].cumsum().tolist()
    )


def test_planned_arrivals_have_no_closed_loop(written: Callable[..., Any]) -> None:
    assert read_closed_loop(written()[0]) is None


def test_a_duration_takes_what_arrives_within_it(made: Callable[..., Any]) -> None:
    requests = made(num_requests=None, duration_s=3)
    assert requests.arrival_time_ns[-1] <= 3_000_000_000
    more = made(num_requests=len(requests.arrival_time_ns) + 1)
    assert more.arrival_time_ns[-1] > 3_000_000_000


def test_a_duration_takes_at_least_the_least_requests(made: Callable[..., Any]) -> None:
    assert len(made(num_requests=None, duration_s=3, min_requests=77).arrival_time_ns) == 77


def test_the_sweep_makes_a_workload_for_a_rate_that_has_no_file() -> None:
    from gpu_timing_assets.config.experiment import compose

    swept, named = (
        compose(["workload=mix_rate_2", *more]).workload
        for more in (["workload.arrivals.rate_per_s=7"], [])
    )
    assert (swept.workload_id, named.workload_id) == ("mix_rate_7", "mix_rate_2")
    assert swept.prefill_lengths == named.prefill_lengths
