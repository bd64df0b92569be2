"""What a profiling bundle says about the time of an engine's steps: kernels, host, pipeline, edges.

Fitted from a bundle alone; `profiling` judges the fits on held-out points, `vidur_ext` simulates
with them.
"""
