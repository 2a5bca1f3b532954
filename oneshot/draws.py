"""Random draws as pure functions of (seed, stream, step): a run resumed at step k needs nothing but k."""

from hashlib import blake2b

import torch


def seed_of(seed: int, stream: str, step: int) -> int:
    """A 63-bit seed for one draw. Streams with different names are independent."""
    digest = blake2b(f"{seed}/{stream}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, stream: str, step: int) -> torch.Generator:
    """A CPU generator for one draw, so that every device sees the same numbers."""
    return torch.Generator().manual_seed(seed_of(seed, stream, step))
