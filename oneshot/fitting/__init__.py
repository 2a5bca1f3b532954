"""What search and retraining share: the LightningModule's base, updates, metrics, checkpoints and progress."""
