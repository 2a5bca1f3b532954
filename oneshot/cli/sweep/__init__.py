"""Sweeps in W&B's format, run on this machine without W&B's server."""
