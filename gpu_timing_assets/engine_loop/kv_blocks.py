"""The blocks of the KV cache, and how many of them each request holds."""

from gpu_timing_assets.engine_loop.sequence import Sequence


class KvBlocks:
    """A pool of `num_blocks` blocks of `block_size` tokens each."""

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.block_size = block_size
        # vLLM keeps block 0 as a null block
        self.num_free = num_blocks - 1

    def blocks_of(self, num_tokens: int) -> int:
        return -(-num_tokens // self.block_size)

    def allocate(self, sequence: Sequence, num_tokens: int) -> bool:
        """Let `sequence` hold its first `num_tokens` tokens; false if there are too few blocks."""
        if num_tokens <= sequence.num_blocks * self.block_size:
            return True
        num_new = self.blocks_of(num_tokens) - sequence.num_blocks
        if num_new > self.num_free:
            return False
        self.num_free -= num_new
        sequence.num_blocks += num_new
        return True

    def free(self, sequence: Sequence) -> None:
        self.num_free += sequence.num_blocks
        sequence.num_blocks = 0
