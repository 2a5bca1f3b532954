"""A toy on which plain DARTS takes the skip connection, though the convolution is exact in the end."""

import pytest
from helpers.scripts import script

toy = script("collapse")
SEEDS = range(2)


@pytest.mark.parametrize("name", ["darts", "smooth_darts_random", "snas"])
def test_weights_that_are_young_favour_the_skip_connection(name):
    """The convolution learns what the skip connection leaves over, and is exact alone, but chosen too late."""
    for seed in SEEDS:
        assert toy.search(name, seed)[0].decisions == (0, 0, 0, 0)


@pytest.mark.parametrize("name", ["uniform", "gdas", "proxyless", "setn", "darts schedule.warmup_epochs=25"])
def test_candidates_that_learn_on_their_own_or_first_are_told_apart(name):
    for seed in SEEDS:
        assert toy.search(name, seed)[0].decisions == (1, 1, 1, 1)
