"""The measurements of `oneshot benchmark`, and the loops that it compares with."""
