"""The command `oneshot`: the only code that knows Hydra and W&B."""
