"""What `oneshot benchmark` measures, and the loops that it compares with."""
