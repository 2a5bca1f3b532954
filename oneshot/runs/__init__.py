"""The folder of a run, and the signals that end one."""
