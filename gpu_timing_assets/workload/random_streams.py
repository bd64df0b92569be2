"""Independent random streams, one per purpose, from one seed; the same on every machine and NumPy
version.

NumPy promises that the raw stream of a bit generator never changes. It does not promise that of its
distributions, so none is used: uniforms are made here from the raw 64-bit numbers.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from gpu_timing_assets.workload.exact_math import Floats


class RandomStream:
    """Random numbers for one purpose: a purpose's stream is unchanged by what any other purpose
    draws.
    """

    def __init__(self, seed: int, purpose: str) -> None:
        key = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
        self._bits = np.random.PCG64(np.random.SeedSequence(int.from_bytes(key, "big")))

    def raw(self, count: int) -> NDArray[np.uint64]:
        """The next `count` 64-bit numbers."""
        return self._bits.random_raw(count)

    def uniform(self, count: int) -> Floats:
        """The next `count` uniforms, inside (0, 1): the middles of 2^52 equal cells, so that
        neither end occurs.
        """
        return ((self.raw(count) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52

    def permutation(self, count: int) -> NDArray[np.int64]:
        """A random order of 0 … count − 1."""
        return np.argsort(self.raw(count), kind="stable").astype(np.int64)
