"""The command `oneshot`. Only this folder knows Hydra and W&B."""
