"""Statistics against values from tables."""

import math

import pytest

from oneshot.analysis import mean_interval


def test_interval_of_three_values_by_hand():
    mean, half = mean_interval([1.0, 2.0, 3.0])
    assert mean == 2 and half == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)  # t(0.975, 2) = 4.302653


def test_one_value_has_no_interval():
    mean, half = mean_interval([0.5])
    assert mean == 0.5 and math.isnan(half)
