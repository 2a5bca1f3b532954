"""What a search and a retraining share: the steps, what they measure, checkpoints and the progress on the screen."""
