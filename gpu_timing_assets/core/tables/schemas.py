"""The columns of every CSV table that crosses stages, in their order."""

from gpu_timing_assets.core.tables.table import Column, Table

TRACE_LENGTHS = Table(
    "trace_lengths.csv",
    (
        Column("request_id"),
        Column("prompt_id", "text"),
        Column("num_prefill_tokens", minimum=1),
        Column("num_decode_tokens", minimum=1),
    ),
)

TRACE_INTERVALS = Table(
    "trace_intervals.csv",
    (Column("request_id"), Column("inter_arrival_ns"), Column("arrival_time_ns")),
)

REQUEST_METRICS = Table(
    "request_metrics.csv",
    (
        Column("request_id"),
        Column("arrival_time_ns"),
        Column("first_token_time_ns", nullable=True),
        Column("ttft_ns", nullable=True),
        Column("completion_time_ns", nullable=True),
        Column("num_prefill_tokens", minimum=1),
        Column("num_decode_tokens", minimum=1),
        Column("num_decode_tokens_actual"),
        Column("status", "text"),
    ),
    (
        Column("submit_time_ns", nullable=True),
        Column("error_type", "text", nullable=True),
        Column("error_msg", "text", nullable=True),
    ),
)

TOKEN_METRICS = Table(
    "token_metrics.csv",
    (
        Column("request_id"),
        Column("token_index"),
        Column("token_time_ns"),
        Column("token_latency_ns", nullable=True),
    ),
)

GRAPH_MODES = ("full", "piecewise", "eager")

ENGINE_STEPS = Table(
    "engine_steps.csv",
    (
        Column("step"),
        Column("schedule_begin_ns", minimum=None),
        Column("schedule_end_ns", minimum=None),
        Column("result_ns", nullable=True, minimum=None),
        Column("num_prefill_tokens"),
        Column("num_prefill_requests"),
        Column("num_decode_requests"),
        Column("kv_tokens"),
        Column("graph_mode", "text", nullable=True, choices=GRAPH_MODES),
    ),
    (
        Column("gpu_begin_ns", nullable=True, minimum=None),
        Column("gpu_end_ns", nullable=True, minimum=None),
    ),
    key=("step",),
    order=(
        ("schedule_begin_ns", "schedule_end_ns"),
        ("schedule_begin_ns", "result_ns"),
        ("gpu_begin_ns", "gpu_end_ns"),
    ),
    rising=("step", "schedule_begin_ns"),
)

ENGINE_BATCHES = Table(
    "engine_batches.csv",
    (
        Column("step"),
        Column("request_id"),
        Column("num_scheduled_tokens", minimum=1),
        Column("num_computed_tokens"),
    ),
    key=("step", "request_id"),
)

CLOSED_LOOP = Table(
    "closed_loop.csv", (Column("request_id"), Column("user_id"), Column("think_time_ns"))
)

LAYER_OPERATORS = (
    *("attn_pre_proj", "attn_post_proj", "mlp_up_proj", "mlp_down_proj", "mlp_act"),
    *("input_layernorm", "post_attention_layernorm", "attn_rope", "add", "add_rms_norm"),
    *("qk_norm", "embedding"),
)
STATISTICS = ("min", "max", "mean", "median", "std")


def _time_columns(operators: tuple[str, ...], *, nullable: bool = False) -> tuple[Column, ...]:
    return tuple(
        Column(f"time_stats.{operator}.{statistic}", "float", nullable)
        for operator in operators
        for statistic in STATISTICS
    )


MLP = Table(
    "mlp.csv",
    (
        *_time_columns(LAYER_OPERATORS),
        Column("n_head"),
        Column("n_kv_head"),
        Column("n_embd"),
        Column("n_expanded_embd"),
        Column("vocab_size"),
        Column("use_gated_mlp", "text"),
        Column("num_tokens", minimum=1),
        Column("num_tensor_parallel_workers"),
    ),
    key=("num_tokens", "num_tensor_parallel_workers"),
)

ATTENTION = Table(
    "attention.csv",
    (
        *_time_columns(("attn_prefill", "attn_decode", "attn_kv_cache_save"), nullable=True),
        Column("n_embd"),
        Column("n_q_head"),
        Column("n_kv_head"),
        Column("block_size"),
        Column("num_tensor_parallel_workers"),
        Column("max_model_len"),
        Column("batch_size", minimum=1),
        Column("prefill_chunk_size"),
        Column("kv_cache_size"),
        Column("is_prefill", "text"),
        Column("attention_backend", "text"),
    ),
    key=("batch_size", "prefill_chunk_size", "kv_cache_size", "num_tensor_parallel_workers"),
)

# the gathering of the logits is there where several devices share the vocabulary
HEAD = Table(
    "head.csv",
    (*_time_columns(("lm_head", "sampler")), Column("num_requests", minimum=1)),
    _time_columns(("logits_gather",)),
    key=("num_requests",),
)

ALL_REDUCE = Table(
    "all_reduce.csv",
    (
        *_time_columns(("all_reduce",)),
        Column("num_tokens", minimum=1),
        Column("num_tensor_parallel_workers", minimum=2),
    ),
    key=("num_tokens", "num_tensor_parallel_workers"),
)

# of a step that was observed: the host in the worker's two calls, the step on the GPU
OBSERVED = (
    *("execute_begin_ns", "execute_end_ns", "sample_begin_ns", "sample_end_ns"),
    *("gpu_begin_ns", "gpu_end_ns"),
)

BURST_STEPS = Table(
    "burst_steps.csv",
    (
        Column("burst"),
        Column("kind", "text"),
        Column("step"),
        Column("schedule_begin_ns"),
        Column("schedule_end_ns"),
        Column("update_begin_ns"),
        Column("update_end_ns"),
        Column("num_prefill_tokens"),
        Column("num_prefill_requests"),
        Column("num_decode_requests"),
        Column("kv_tokens"),
        Column("prefill_attention_pairs"),
        Column("graph_mode", "text", choices=GRAPH_MODES),
        Column("num_outputs"),
        Column("client_first_ns", nullable=True),
        Column("client_last_ns", nullable=True),
    ),
    # an older bundle has none of these: its steps were not observed, and it is refused
    tuple(Column(name) for name in OBSERVED),
    key=("burst", "step"),
    # the engine's core, its worker, the GPU and the client: each on its own
    order=(
        ("schedule_begin_ns", "schedule_end_ns", "update_begin_ns", "update_end_ns"),
        ("execute_begin_ns", "execute_end_ns", "sample_begin_ns", "sample_end_ns"),
        ("gpu_begin_ns", "gpu_end_ns"),
        ("client_first_ns", "client_last_ns"),
    ),
    rising=("step", "schedule_begin_ns", "update_begin_ns", "gpu_begin_ns"),
    series="burst",
)

# of the held-out bursts: when each token reached the client
BURST_TOKENS = Table(
    "burst_tokens.csv",
    (Column("burst"), Column("request_id"), Column("token_index"), Column("client_ns")),
    key=("burst", "request_id", "token_index"),
)

BURST_REQUESTS = Table(
    "burst_requests.csv",
    (
        Column("burst"),
        Column("kind", "text"),
        Column("request_id"),
        Column("arrival_ns"),
        Column("submit_ns"),
        Column("first_schedule_begin_ns"),
        Column("first_update_end_ns"),
        Column("first_token_ns"),
        Column("num_prefill_tokens"),
        Column("num_decode_tokens"),
        Column("num_in_flight"),
    ),
    # an older bundle lacks it: the front end is then part of the client's latency
    (Column("front_end_ns"),),
    key=("burst", "request_id"),
    order=(
        ("arrival_ns", "submit_ns", "first_schedule_begin_ns"),
        ("first_schedule_begin_ns", "first_update_end_ns", "first_token_ns"),
    ),
)

BURST_BATCHES = Table(
    "burst_batches.csv",
    (
        Column("burst"),
        Column("step"),
        Column("request_id"),
        Column("num_scheduled_tokens", minimum=1),
        Column("num_computed_tokens"),
    ),
)
