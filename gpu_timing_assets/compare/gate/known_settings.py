"""Which of an engine's resolved settings and environment variables change its timing, and which do
not.

By reason, patterns of `fnmatch` over the flat names of `params`: `environment.VLLM_PORT`,
`resolved.scheduler_config.policy`. The names are those of vLLM's configuration classes and of
`vllm/envs.py`, whose `compile_factors` also tells what matters to no kernel. What no pattern knows
may matter: it is listed.
"""

from fnmatch import fnmatchcase

# Asked first: a cache's directory is a path, whatever the cache is for.
NO_EFFECT = {
    "where files lie": """
        *_dir *_path *_DIR *_PATH *_ROOT *_HOME environment.*_CACHE *served_model_name
        resolved.model_config.model resolved.model_config.model_weights
        resolved.model_config.tokenizer""",
    "logs and telemetry": """
        environment.*_LOG_* environment.*_LOGGING* *COLOR* resolved.logging_config.* *disable_log*
        environment.*USAGE* environment.*_DO_NOT_TRACK *otlp_*""",
    "ports, addresses, ids and seeds of one start": """
        *_port *_PORT *_port_list *_ip *_IP *_HOST *_addr *instance_id *_RANK *_gpu_ids *.seed
        environment.CUDA_VISIBLE_DEVICES""",
    "secrets": "*_KEY *_KEY_ID *_TOKEN *hf_token *_ENDPOINT_URL",
    "time limits": "*timeout* *TIMEOUT*",
    "memory for the KV cache, held as num_kv_blocks": """
        resolved.cache_config.num_*_blocks resolved.cache_config.kv_cache_size_tokens
        resolved.cache_config.kv_cache_max_concurrency resolved.cache_config.kv_cache_memory_bytes
        *gpu_memory_utilization environment.VLLM_CPU_KVCACHE_SPACE""",
    "how the engine starts, and what a start counted": """
        resolved.load_config.* environment.VLLM_WORKER_MULTIPROC_METHOD
        resolved.compilation_config.*compilation_time resolved.compilation_config.static_*
        resolved.compilation_config.traced_files resolved.compilation_config.*abled_custom_ops*""",
}
TIMING = {
    "which code runs on the host": """
        environment.VLLM_USE_V2_MODEL_RUNNER environment.VLLM_USE_V1
        environment.VLLM_ENABLE_V1_MULTIPROCESSING environment.VLLM_USE_RUST_FRONTEND
        environment.VLLM_V1_OUTPUT_PROC_CHUNK_SIZE environment.VLLM_USE_SPINLOOP_EXT""",
    # not scheduler_cls: it names the class that records the steps, which a run may do without
    "who is in a step": """
        resolved.scheduler_config.[!s]* resolved.scheduler_config.stream_interval
        resolved.scheduler_config.scheduler_reserve*""",
    "attention's kernels": """
        resolved.attention_config.* resolved.*attn_backend* *attention_backend*
        environment.*ATTENTION_BACKEND* environment.*_ATTN_* environment.*FLASHINFER*
        environment.*_MLA_* environment.*KV_CACHE_LAYOUT* resolved.*sliding_window*""",
    "compilation and CUDA graphs": """
        resolved.compilation_config* resolved.*cudagraph* resolved.*enforce_eager
        environment.*CUDAGRAPH* environment.*COMPILE* environment.*INDUCTOR*
        resolved.optimization_level resolved.performance_mode""",
    "arithmetic and its kernels": """
        resolved.*quant* resolved.*dtype* resolved.kernel_config.* environment.*GEMM*
        environment.*TRITON* environment.*_MOE_* environment.*AITER* environment.*MATMUL*
        environment.*BATCH_INVARIANT* environment.*DISABLED_KERNELS* environment.*QUANT*
        environment.VLLM_TUNED_CONFIG_FOLDER""",
    "speculative decoding": "resolved.speculative_config*",
    "what is cached": """
        resolved.*prefix_caching* resolved.cache_config.block_size resolved.*offload*
        resolved.kv_transfer_config* resolved.lora_config* environment.*OFFLOAD*""",
    "how GPUs share the work": """
        resolved.*parallel_size* resolved.*all_reduce* resolved.*enable_dbo environment.*ALLREDUCE*
        environment.NCCL_* resolved.*executor_backend""",
    "the CPU's threads": """
        environment.*OMP_* environment.MKL_NUM_THREADS resolved.*numa_bind*
        environment.CUDA_LAUNCH_BLOCKING""",
    "tracing": """
        environment.VLLM_TRACE_FUNCTION resolved.profiler_config.*
        resolved.observability_config.collect_detailed_traces""",
}


def has_no_effect(setting: str) -> bool:
    """Whether it is known not to change the timing, and then mentioned nowhere."""
    return setting.startswith(("resolved.", "environment.")) and bool(_reason(NO_EFFECT, setting))


def timing_reason(setting: str) -> str | None:
    """What of the timing the setting decides; `None` of one that is not known to decide any."""
    return None if has_no_effect(setting) else _reason(TIMING, setting)


def _reason(known: dict[str, str], setting: str) -> str | None:
    for reason, patterns in known.items():
        if any(fnmatchcase(setting, pattern) for pattern in patterns.split()):
            return reason
    return None
