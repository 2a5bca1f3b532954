"""The names of what no search has found, beside which a method is judged."""

RANDOM = "random"  # a random architecture
LARGEST = "largest"  # the one with the most parameters
CONTROLS = (RANDOM, LARGEST)
