"""What holds of every simulation, whatever the workload and the limits: found by Hypothesis."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpu_timing_assets.engine_loop.loop_timing import KernelsOnly, LoopTiming
from gpu_timing_assets_tests.unit.engine_loop.plain_loop import serve
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import engine_params, kernel_times

requests = st.lists(
    st.tuples(st.integers(1, 150), st.integers(1, 40), st.integers(0, 30)), min_size=1, max_size=12
)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    work=requests,
    num_kv_blocks=st.integers(14, 60),
    max_num_seqs=st.integers(1, 8),
    budget=st.integers(8, 128),
    asynchronous=st.booleans(),
    predictor=st.sampled_from(["kernels_only", "engine_loop"]),
    reserve=st.booleans(),
)
def test_every_simulation_serves_each_request_exactly(
    config, timing, work, num_kv_blocks, max_num_seqs, budget, asynchronous, predictor, reserve
) -> None:
    params = engine_params(
        config,
        num_kv_blocks=num_kv_blocks,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=budget,
        async_scheduling=asynchronous,
        other={"scheduler_reserve_full_isl": reserve},
    )
    kernels = kernel_times(params)
    chosen = (
        KernelsOnly(params, kernels)
        if predictor == "kernels_only"
        else LoopTiming(params, kernels, timing, seed=0)
    )
    prompt, outputs, arrival_ms = (np.array(column) for column in zip(*work, strict=True))
    run = serve(work, params, chosen)
    steps, batches, token_request, token_ns = (
        run.steps,
        run.batches,
        run.token_request,
        run.token_ns,
    )

    # each request gets exactly its tokens, not before it arrived
    assert np.bincount(token_request, minlength=len(work)).tolist() == outputs.tolist()
    first = batches.groupby("request_id")["step"].min()
    begin = steps["schedule_begin_ns"].to_numpy()
    assert (begin[first.to_numpy()] >= np.rint(arrival_ms * 1e6)[first.index]).all()

    # time goes forward: between steps, within a step, within a request
    assert (np.diff(begin) >= 0).all()
    assert (steps["schedule_end_ns"] >= steps["schedule_begin_ns"]).all()
    assert (steps["result_ns"] >= steps["schedule_end_ns"]).all()
    assert (np.diff(steps["result_ns"]) >= 0).all()
    assert all(
        (np.diff(token_ns[token_request == request]) >= 0).all() for request in range(len(work))
    )

    # no step exceeds the token budget or the sequences, and its counts are those of its batch
    by_step = batches.groupby("step")
    assert by_step["num_scheduled_tokens"].sum().max() <= budget
    assert by_step["request_id"].nunique().max() <= max_num_seqs
    assert (steps["num_prefill_tokens"] + steps["num_decode_requests"]).tolist() == by_step[
        "num_scheduled_tokens"
    ].sum().tolist()
    assert (steps["num_prefill_requests"] + steps["num_decode_requests"]).tolist() == by_step[
        "request_id"
    ].count().tolist()

    # a request is computed contiguously from 0, again after a preemption, and no token twice
    # without one
    for request, rows in batches.groupby("request_id"):
        expected = 0
        starts = 0
        for computed, tokens in zip(
            rows["num_computed_tokens"], rows["num_scheduled_tokens"], strict=True
        ):
            starts += computed == 0
            assert computed in (expected, 0)
            expected = computed + tokens
        assert expected == prompt[request] + outputs[request] - 1
        if starts == 1:
            assert rows["num_scheduled_tokens"].sum() == prompt[request] + outputs[request] - 1

    # a token is seen when a step has its result, and at no other time
    assert set(token_ns.tolist()) <= set(steps["result_ns"].tolist())
