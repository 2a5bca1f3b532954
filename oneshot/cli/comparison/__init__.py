"""The parts of `oneshot compare`: its methods, its budget, its jobs and what it says at its end."""
