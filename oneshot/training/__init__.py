"""A search or a retraining in a folder of its own: checkpoints, files, pictures and a result."""
