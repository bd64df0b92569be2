"""Driving a real engine: starting it, replaying requests, recording its steps. Shared by
`real_bench` and `profiling`.

torch, vLLM and transformers are imported inside functions only.
"""
