"""Reading the engine's recording: a small one, written by hand."""

import json

import pandas as pd
import pytest

from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.core.errors import EngineError
from gpu_timing_assets.engines.recorded_steps import describe_steps
from gpu_timing_assets.engines.vllm.recording import StepRecording
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import engine_params

RECORDS = [
    ["header", {"num_kv_blocks": 7}],
    ["s", 0, 100, 110, [["w0r0.0-9f3a", 5, 0]]],
    ["s", 1, 120, 130, [["w0r0.0-9f3a", 1, 5], ["w0r0.1-77aa", 1, 0]]],
    ["u", 0, 140, 150],
    # step 2 scheduled nothing and was not recorded
    ["s", 3, 200, 210, [["w0r0.1-77aa", 1, 1], ["w0r0.0-9f3a", 7, 0]]],
    ["u", 1, 190, 195],
]


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "recording.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return path


def test_the_header_is_what_the_engine_resolved(recording) -> None:
    assert StepRecording(recording).header() == {"num_kv_blocks": 7}


@pytest.mark.parametrize("content", [None, "", "vllm died\n"])
def test_a_recording_that_was_never_begun_is_an_engine_that_did_not_start(
    tmp_path, content
) -> None:
    path = tmp_path / "recording.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(EngineError, match="its scheduler did not start"):
        StepRecording(path).header()


def test_a_step_has_both_of_its_spans_and_one_without_a_result_is_kept(recording) -> None:
    steps = StepRecording(recording).read().steps
    assert steps["step"].tolist() == [0, 1, 3]
    assert steps["schedule_begin_ns"].tolist() == [100, 120, 200]
    assert steps["update_end_ns"].fillna(-1).tolist() == [150, 195, -1]


def test_requests_have_the_names_that_the_client_gave_them(recording) -> None:
    batches = StepRecording(recording).read().batches
    assert batches["tag"].tolist() == ["w0r0"] * 5
    assert batches["request_id"].tolist() == [0, 0, 1, 1, 0]
    assert batches["num_scheduled_tokens"].tolist() == [5, 1, 1, 1, 7]
    assert batches["num_computed_tokens"].tolist() == [0, 5, 0, 1, 0]


def test_a_recording_that_grows_is_read_on_where_the_last_reading_ended(recording) -> None:
    growing = StepRecording(recording)
    begun, _, rest = recording.read_text().rpartition('["u", 0')
    # the engine is in the middle of a line
    recording.write_text(begun + '["u", 0')
    assert growing.read().steps["update_end_ns"].isna().all()
    recording.write_text(begun + '["u", 0' + rest)
    whole = StepRecording(recording).read()
    grown = growing.read()
    pd.testing.assert_frame_equal(grown.steps, whole.steps)
    pd.testing.assert_frame_equal(grown.batches, whole.batches)


def test_requests_whose_name_has_no_number_belong_to_no_replay(tmp_path) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_text('["s", 0, 1, 2, [["flush-1", 1, 0], ["w0r0.3-2", 1, 0]]]\n')
    recorded = StepRecording(path).read()
    assert recorded.batches["request_id"].tolist() == [-1, 3]
    assert recorded.batches_of("w0r0")["request_id"].tolist() == [3]


@pytest.fixture(scope="module")
def params():
    return engine_params(compose(), graph_capture_sizes=(1, 2, 4))


def test_a_step_is_described_by_what_is_in_it(recording, params) -> None:
    recorded = StepRecording(recording).read()
    batches = recorded.batches_of("w0r0")
    described = describe_steps(recorded.steps, batches, pd.Series({0: 5, 1: 1}), params)
    # a prompt of one token is a prefill; a request computed again after a preemption too
    assert described["num_prefill_tokens"].tolist() == [5, 1, 7]
    assert described["num_prefill_requests"].tolist() == [1, 1, 1]
    assert described["num_decode_requests"].tolist() == [0, 1, 1]
    assert described["kv_tokens"].tolist() == [5, 6 + 1, 2 + 7]
    assert described["graph_mode"].tolist() == ["eager", "piecewise", "eager"]


def test_steps_of_other_requests_are_left_out(recording, params) -> None:
    recorded = StepRecording(recording).read()
    batches = recorded.batches[recorded.batches["request_id"] == 1]
    described = describe_steps(recorded.steps, batches, pd.Series({1: 1}), params)
    assert described["step"].tolist() == [1, 3]
