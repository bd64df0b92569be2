"""Independent random streams, one per purpose, from one seed; the same on every machine and NumPy
version.

NumPy promises that the raw stream of a bit generator never changes. It does not promise that of its
distributions, so none is used: uniforms are made here from the raw 64-bit numbers.
"""

import hashlib
from typing import TYPE_CHECKING

from gpu_timing_assets.workload.requests import Floats, Integers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class RandomStream:
    """Random numbers for one purpose, unchanged by what any other purpose draws."""

    def __init__(self, seed: int, purpose: str) -> None:
        import numpy as np

        key = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
        self._bits = np.random.PCG64(np.random.SeedSequence(int.from_bytes(key, "big")))

    def raw(self, count: int) -> "NDArray[np.uint64]":
        """The next `count` 64-bit numbers."""
        return self._bits.random_raw(count)

    def uniform(self, count: int) -> Floats:
        """The next `count` uniforms in (0, 1): the middles of 2^52 equal cells, so never an end."""
        return ((self.raw(count) >> 12).astype("float64") + 0.5) * 2.0**-52

    def permutation(self, count: int) -> Integers:
        """A random order of 0 … count − 1."""
        return self.raw(count).argsort(kind="stable").astype("int64")
