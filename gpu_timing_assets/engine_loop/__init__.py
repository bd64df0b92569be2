"""What a serving engine does, as a model: which requests are in a step, and how long a step takes.

NumPy and pandas only. Fitted from a profiling bundle alone; a simulator drives it by its own clock
(see `loop`).
"""
