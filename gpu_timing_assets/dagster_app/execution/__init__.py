"""How runs are run: what executes their steps, what ends them, and what is said of a failure."""
