"""Random draws as pure functions of (seed, stream, step): to resume at step k, a run needs only k."""

from hashlib import blake2b

import torch


def seed_of(seed: int, stream: str, step: int) -> int:
    """Derive a seed for one draw. Streams with different names are independent.

    Args:
        seed: Seed of the run.
        stream: Name of what is drawn.
        step: Number of the draw.

    Returns:
        A seed of 63 bits.
    """
    digest = blake2b(f"{seed}/{stream}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, stream: str, step: int) -> torch.Generator:
    """Make a generator for one draw. It is on the CPU, so that every device sees the same numbers.

    Args:
        seed: Seed of the run.
        stream: Name of what is drawn.
        step: Number of the draw.

    Returns:
        The generator.
    """
    return torch.Generator().manual_seed(seed_of(seed, stream, step))
