"""Sweeps in W&B's format, run here and without its server."""
