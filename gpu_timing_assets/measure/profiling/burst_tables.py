"""What the engine recorded and the client saw of bursts, as the bundle's tables."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.engines.recorded_steps import RecordedSteps, describe_steps
from gpu_timing_assets.engines.replay import ReplayResult
from gpu_timing_assets.measure.profiling.burst_plan import Burst


@dataclass(frozen=True)
class PlayedBurst:
    """A burst whose requests the engine knows as `<tag>.<request id>`, and what the client saw."""

    burst: Burst
    tag: str
    result: ReplayResult

    def token_times_ns(self, request: int) -> np.ndarray:
        return self.result.token_ns[self.result.token_request == request]


@dataclass(frozen=True)
class BurstTables:
    """The columns of `burst_steps.csv`, `burst_requests.csv`, `burst_batches.csv` and
    `burst_tokens.csv`.
    """

    steps: pd.DataFrame
    requests: pd.DataFrame
    batches: pd.DataFrame
    tokens: pd.DataFrame


def burst_tables(
    played: Sequence[PlayedBurst], recorded: RecordedSteps, params: EngineParams
) -> BurstTables:
    """Of these bursts, numbered from 0; times count from the start of the first of them."""
    processed = recorded.steps.dropna(subset=["update_end_ns"]).astype("Int64")
    origin_ns = played[0].result.start_ns
    frames = []
    for number, one in enumerate(played):
        batches = recorded.batches_of(one.tag)
        seen = _tokens_seen(one, batches)
        of_burst = (
            _steps(one, batches, seen, processed, params),
            _requests(one, batches, seen, processed),
            _client_tokens(one),
        )
        steps, requests, tokens = (
            _from(origin_ns, frame).assign(burst=number, kind=one.burst.kind) for frame in of_burst
        )
        requests["front_end_ns"] = one.result.front_end_ns
        frames.append(BurstTables(steps, requests, batches.assign(burst=number), tokens))
    return BurstTables(
        **{
            field.name: pd.concat([getattr(frame, field.name) for frame in frames])
            for field in fields(BurstTables)
        }
    )


def _prompt_tokens(played: PlayedBurst) -> pd.Series:
    return pd.Series([len(request.prompt_token_ids) for request in played.burst.requests])


def _client_tokens(played: PlayedBurst) -> pd.DataFrame:
    """When each token reached the client: `request_id`, `token_index`, `client_ns`."""
    result = played.result
    client_ns = result.token_ns + result.start_ns
    client = pd.DataFrame({"request_id": result.token_request, "client_ns": client_ns})
    client["token_index"] = client.groupby("request_id").cumcount()
    return client


def _tokens_seen(played: PlayedBurst, batches: pd.DataFrame) -> pd.DataFrame:
    """Beside `batches`: the output token that each request gets of a step (−1: none), when it
    reached the client, and the (query, key) pairs of its prompt's attention.
    """
    chunk, computed = batches["num_scheduled_tokens"], batches["num_computed_tokens"]
    prompt = _prompt_tokens(played).reindex(batches["request_id"]).to_numpy()
    # a step that completes the prompt, or any decode step, yields the request's next token
    past_prompt = (computed + chunk).to_numpy() - prompt
    made = batches.assign(
        token_index=np.where(past_prompt >= 0, past_prompt, -1),
        pairs=np.where(computed < prompt, chunk * computed + chunk * (chunk + 1) // 2, 0),
    )
    return made.merge(_client_tokens(played), on=["request_id", "token_index"], how="left")


def _steps(
    played: PlayedBurst,
    batches: pd.DataFrame,
    seen: pd.DataFrame,
    processed: pd.DataFrame,
    params: EngineParams,
) -> pd.DataFrame:
    by_step = seen.groupby("step").agg(
        prefill_attention_pairs=("pairs", "sum"),
        num_outputs=("client_ns", "count"),
        client_first_ns=("client_ns", "min"),
        client_last_ns=("client_ns", "max"),
    )
    steps = describe_steps(processed, batches, _prompt_tokens(played), params)
    return steps.merge(by_step.reset_index(), on="step", how="left")


def _requests(
    played: PlayedBurst, batches: pd.DataFrame, seen: pd.DataFrame, processed: pd.DataFrame
) -> pd.DataFrame:
    planned, result = played.burst.requests, played.result
    client, by_step = _client_tokens(played), processed.set_index("step")
    first_step = batches.groupby("request_id")["step"].min().sort_index()
    answer_step = seen[seen["token_index"] == 0].groupby("request_id")["step"].min().sort_index()
    first_token = client[client["token_index"] == 0].set_index("request_id")["client_ns"]
    last_token = client.groupby("request_id")["client_ns"].max().reindex(range(len(planned)))
    arrival = result.arrival_ns + result.start_ns
    return pd.DataFrame(
        {
            "request_id": range(len(planned)),
            "arrival_ns": arrival,
            "submit_ns": result.submit_ns + result.start_ns,
            "first_schedule_begin_ns": by_step["schedule_begin_ns"].reindex(first_step).to_numpy(),
            "first_update_end_ns": by_step["update_end_ns"].reindex(answer_step).to_numpy(),
            "first_token_ns": first_token.sort_index().to_numpy(),
            "num_prefill_tokens": _prompt_tokens(played),
            "num_decode_tokens": [request.num_tokens for request in planned],
            "num_in_flight": [int(((arrival < at) & (last_token > at)).sum()) for at in arrival],
        }
    )


def _from(origin_ns: int, frame: pd.DataFrame) -> pd.DataFrame:
    times = [column for column in frame.columns if column.endswith("_ns")]
    return frame.assign(**{column: (frame[column] - origin_ns).astype("Int64") for column in times})
