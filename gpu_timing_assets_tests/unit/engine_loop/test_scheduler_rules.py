"""vLLM V1's scheduling rules, held on the loop under a plain clock."""

import numpy as np
import pandas as pd
import pytest

NO_RESERVE = {"scheduler_reserve_full_isl": False}


def kv_blocks_in_use(run) -> list[int]:
    """By step: the blocks that requests hold after it was scheduled, from the tables alone."""
    batches = run.batches.sort_values(["request_id", "step"])
    # a request that begins anew at 0 tokens was preempted, at the earliest right after it was
    # scheduled last
    same = batches["request_id"].eq(batches["request_id"].shift(-1))
    preempted = same & (batches["num_computed_tokens"].shift(-1) == 0)
    batches = batches.assign(preempted=preempted.to_numpy()).sort_values("step")
    last_token = pd.Series(run.token_ns).groupby(run.token_request).max()
    held: dict[int, int] = {}
    gone: set[int] = set()
    in_use = []
    for (_, rows), begin in zip(
        batches.groupby("step"), run.steps["schedule_begin_ns"], strict=True
    ):
        held = {
            request: blocks
            for request, blocks in held.items()
            if request not in gone and last_token[request] > begin
        }
        for row in rows.itertuples():
            held[row.request_id] = -(
                -(row.num_computed_tokens + row.num_scheduled_tokens) // run.params.kv_block_size
            )
        gone = set(rows[rows["preempted"]]["request_id"])
        in_use.append(sum(held.values()))
    return in_use


def test_a_running_request_is_scheduled_before_a_waiting_one(simulated) -> None:
    run = simulated([(16, 8, 0), (16, 8, 0.5)])
    first_of_second = min(step for step, batch in enumerate(run.order) if 1 in batch)
    assert first_of_second > 0
    assert run.order[first_of_second] == [0, 1]
    assert run.batch(first_of_second) == {0: 1, 1: 16}


def test_prefill_chunks_and_decodes_share_one_token_budget(simulated) -> None:
    run = simulated([(8, 12, 0), (150, 4, 0.5)], max_num_batched_tokens=64)
    chunks = run.batches[run.batches["request_id"] == 1]
    prompt = chunks[chunks["num_computed_tokens"] < 150]
    assert prompt["num_scheduled_tokens"].tolist() == [63, 63, 24]
    assert prompt["num_computed_tokens"].tolist() == [0, 63, 126]
    assert all(0 in run.batch(step) for step in prompt["step"])
    assert run.batches.groupby("step")["num_scheduled_tokens"].sum().max() == 64


def test_a_prompt_is_not_split_without_chunked_prefill(simulated) -> None:
    run = simulated(
        [(8, 12, 0), (64, 4, 0.5)], enable_chunked_prefill=False, max_num_batched_tokens=64
    )
    first = run.batches[run.batches["request_id"] == 1].iloc[0]
    assert first["num_scheduled_tokens"] == 64
    # the other's decodes leave a budget of 63, so it waits until they are over
    assert first["step"] > run.batches[run.batches["request_id"] == 0]["step"].max()


def test_a_chunk_that_does_not_end_the_prompt_yields_no_token(simulated) -> None:
    run = simulated([(150, 1, 0)], max_num_batched_tokens=64)
    assert len(run.steps) == 3
    assert run.token_ns.tolist() == [run.steps["result_ns"].iloc[-1]]


def test_waiting_requests_are_admitted_in_arrival_order(simulated) -> None:
    # the third has room beside the first long before the second has, which is ahead of it in the
    # queue
    run = simulated([(100, 9, 0), (110, 4, 1), (4, 4, 2)], num_kv_blocks=14)
    first_step = run.batches.groupby("request_id")["step"].min()
    assert first_step[1] > run.batches[run.batches["request_id"] == 0]["step"].max()
    assert first_step[2] >= first_step[1]


def test_arrival_order_is_that_of_the_times_not_of_the_ids(simulated) -> None:
    run = simulated([(16, 2, 5.0), (16, 2, 0.0)])
    assert run.order[0] == [1]


def test_no_more_than_max_num_seqs_run_at_once(simulated) -> None:
    run = simulated([(4, 6, 0)] * 7, max_num_seqs=3)
    assert run.batches.groupby("step")["request_id"].nunique().max() == 3
    assert [run.outputs(request) for request in range(7)] == [6] * 7


@pytest.mark.parametrize("predictor", ["kernels_only", "engine_loop"])
def test_kv_blocks_never_exceed_those_of_the_engine_less_its_null_block(
    simulated, predictor
) -> None:
    run = simulated([(40, 60, i) for i in range(8)], predictor, num_kv_blocks=15)
    assert max(kv_blocks_in_use(run)) <= 14


def test_a_request_holds_a_block_for_each_16_tokens_begun(simulated) -> None:
    # 6 blocks usable: two prompts of 33 tokens take 3 each, a third must wait until one has
    # finished
    run = simulated([(33, 4, 0)] * 3, num_kv_blocks=7, max_num_batched_tokens=256)
    assert run.order[0] == [0, 1]
    assert max(kv_blocks_in_use(run)) == 6
    assert min(step for step, batch in enumerate(run.order) if 2 in batch) == 4


@pytest.mark.parametrize(
    ("other", "admitted_at_once"),
    [({"scheduler_reserve_full_isl": True}, False), (NO_RESERVE, True)],
)
def test_a_full_prompt_must_fit_where_the_engine_reserves_it(
    simulated, other, admitted_at_once
) -> None:
    # 9 usable blocks; the first holds 2; a first chunk of the second (63 tokens, 4 blocks) fits,
    # its whole prompt (8) does not
    run = simulated(
        [(30, 20, 0), (120, 2, 3)], num_kv_blocks=10, max_num_batched_tokens=64, other=other
    )
    first_alone = run.batches[run.batches["request_id"] == 0]["step"].max()
    begun = run.batches[run.batches["request_id"] == 1]["step"].min()
    assert bool(begun < first_alone) is admitted_at_once
    assert [run.outputs(0), run.outputs(1)] == [20, 2]


def test_the_request_admitted_last_is_preempted_and_computed_again(simulated) -> None:
    # 8 usable blocks: both prompts fit (3 + 3), their 40 outputs (5 + 5) do not
    run = simulated([(40, 40, 0), (40, 40, 0)], num_kv_blocks=9, max_num_batched_tokens=256)
    starts = run.batches[run.batches["num_computed_tokens"] == 0]
    assert starts["request_id"].tolist() == [0, 1, 1]
    again = starts.iloc[2]
    # all that it had: its prompt and the tokens made before
    made_before = (
        run.batches[(run.batches["request_id"] == 1) & (run.batches["step"] < again["step"])][
            "num_scheduled_tokens"
        ]
        == 1
    ).sum() + 1
    assert again["num_scheduled_tokens"] == 40 + made_before
    assert run.outputs(1) == 40


def test_a_preempted_request_keeps_its_tokens_and_gets_each_once(simulated) -> None:
    for predictor in ("kernels_only", "engine_loop"):
        run = simulated(
            [(40, 40, 0), (40, 40, 0), (30, 35, 1)],
            predictor,
            num_kv_blocks=9,
            max_num_batched_tokens=256,
        )
        assert (
            run.batches[run.batches["num_computed_tokens"] == 0].groupby("request_id").size() > 1
        ).any()
        assert [run.outputs(request) for request in range(3)] == [40, 40, 35]


def test_no_request_is_admitted_in_the_step_of_a_preemption(simulated) -> None:
    # 8 usable blocks, 4 for each; when the first begins its fifth, 3 of the other's are left over:
    # enough for a chunk of the 31 tokens that the budget leaves
    run = simulated(
        [(40, 40, 0), (40, 40, 0)], num_kv_blocks=9, max_num_batched_tokens=32, other=NO_RESERVE
    )
    of_second = run.batches[run.batches["request_id"] == 1]
    restart = int(of_second[of_second["num_computed_tokens"] == 0]["step"].iloc[1])
    last_before = int(of_second[of_second["step"] < restart]["step"].max())
    assert run.order[last_before + 1] == [0]
    # nothing but the preemption kept it out: one step later it is back, in no more blocks
    assert run.order[last_before + 2] == [0, 1]
    assert run.batch(last_before + 2) == {0: 1, 1: 31}


def test_a_preempted_request_goes_before_those_that_wait(simulated) -> None:
    run = simulated(
        [(40, 40, 0), (40, 40, 0), (4, 4, 0)],
        num_kv_blocks=9,
        max_num_batched_tokens=256,
        max_num_seqs=2,
    )
    restart = run.batches[
        (run.batches["request_id"] == 1) & (run.batches["num_computed_tokens"] == 0)
    ]["step"].iloc[1]
    assert run.batches[run.batches["request_id"] == 2]["step"].min() >= restart


def test_a_prefill_of_one_token_is_a_prefill(simulated) -> None:
    run = simulated([(1, 3, 0)])
    assert run.steps["num_prefill_requests"].tolist() == [1, 0, 0]
    assert run.steps["num_decode_requests"].tolist() == [0, 1, 1]
    assert run.steps["num_prefill_tokens"].tolist() == [1, 0, 0]


def test_the_last_chunk_of_one_token_is_a_prefill(simulated) -> None:
    run = simulated([(65, 2, 0)], max_num_batched_tokens=64)
    assert run.steps["num_prefill_tokens"].tolist() == [64, 1, 0]
    assert run.steps["num_decode_requests"].tolist() == [0, 0, 1]


def test_kv_tokens_are_the_context_that_the_step_attends_to(simulated) -> None:
    run = simulated([(20, 4, 0), (30, 2, 0)])
    assert run.steps["kv_tokens"].tolist() == [50, 21 + 31, 22, 23]


def test_graph_modes_are_those_of_the_real_engine(simulated) -> None:
    # 33 tokens are above the largest captured size of 32, 20 are not, decodes replay a full graph
    run = simulated([(33, 2, 0), (20, 2, 100)])
    assert run.steps["graph_mode"].tolist() == ["eager", "full", "piecewise", "full"]


def test_a_request_beyond_the_context_is_cut_as_the_engine_cuts_it(simulated) -> None:
    run = simulated([(20, 44, 0)], max_model_len=64)
    last = run.batches.iloc[-1]
    assert last["num_computed_tokens"] + last["num_scheduled_tokens"] == 63
    assert run.outputs(0) == 44


def test_an_idle_engine_waits_for_the_next_arrival(simulated) -> None:
    run = simulated([(8, 2, 0), (8, 2, 500)])
    begin = run.steps["schedule_begin_ns"]
    assert begin.iloc[2] == 500_000_000
    assert run.steps["result_ns"].iloc[1] < begin.iloc[2]


class TestAsynchronous:
    def test_a_step_is_scheduled_before_the_result_of_the_one_before(self, simulated) -> None:
        run = simulated([(16, 12, 0)], "engine_loop")
        begin, result = run.steps["schedule_begin_ns"].to_numpy(), run.steps["result_ns"].to_numpy()
        assert (begin[1:] < result[:-1]).all()

    def test_a_result_is_processed_only_after_the_next_step_was_scheduled(self, simulated) -> None:
        run = simulated([(16, 12, 0), (16, 9, 1), (16, 5, 2)], "engine_loop")
        steps = run.steps
        assert (steps["result_ns"].to_numpy()[:-1] > steps["schedule_end_ns"].to_numpy()[1:]).all()

    def test_no_more_than_one_step_is_ahead(self, simulated) -> None:
        run = simulated([(16, 12, 0), (16, 9, 1)], "engine_loop")
        begin, result = run.steps["schedule_begin_ns"].to_numpy(), run.steps["result_ns"].to_numpy()
        assert (begin[2:] >= result[:-2]).all()

    def test_a_request_that_must_have_reached_its_last_token_is_not_scheduled_again(
        self, simulated
    ) -> None:
        run = simulated([(16, 5, 0)], "engine_loop")
        assert run.batches["num_scheduled_tokens"].tolist() == [16, 1, 1, 1, 1]
        assert len(run.steps) == 5

    @pytest.mark.parametrize("outputs", [1, 2, 3, 17])
    def test_every_request_gets_exactly_its_outputs(self, simulated, outputs) -> None:
        run = simulated([(16, outputs, 0), (70, outputs + 1, 0.2)], "engine_loop")
        assert [run.outputs(0), run.outputs(1)] == [outputs, outputs + 1]
        assert (run.batches["request_id"] == 0).sum() == outputs

    def test_a_synchronous_engine_processes_a_result_before_it_schedules(self, simulated) -> None:
        run = simulated([(16, 12, 0)], "engine_loop", async_scheduling=False)
        begin, result = run.steps["schedule_begin_ns"].to_numpy(), run.steps["result_ns"].to_numpy()
        assert (begin[1:] >= result[:-1]).all()

    def test_there_is_host_time_between_results_that_kernels_alone_do_not_have(
        self, simulated
    ) -> None:
        work = [(16, 30, 0)]
        engine, kernel = (
            np.median(np.diff(simulated(work, predictor).token_ns))
            for predictor in ("engine_loop", "kernels_only")
        )
        assert engine > kernel
