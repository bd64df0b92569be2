#!/usr/bin/env bash
# Measures one model on the GPU of this machine: its profiling bundle, a second one beside it (how far the predictions of the
# two lie apart stands in the first one's bundle_meta.json), then real runs of the workloads named.
#   benchmarks/measure_reference.sh MODEL HARDWARE WORKLOAD,WORKLOAD,… [override …]
# Writes below $GPU_TIMING_DATA_ROOT (data/ by default), where the workloads must be (`workload-spec workload=…`).
# Needs Python with vLLM, pandas, pydantic, hydra-core and scipy; no Dagster, no installation of this project.
set -euo pipefail
cd "$(dirname "$0")/.."
model=$1 hardware=$2 workloads=$3
shift 3
target=("model=$model" "hardware=$hardware" backend=vllm profiling=standard "$@")
python3 -m gpu_timing_assets.cli vidur-profile --repeat 2 "${target[@]}"
python3 -m gpu_timing_assets.cli real-bench --workloads "$workloads" "${target[@]}"
