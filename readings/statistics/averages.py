"""Averages of values of which count, sum, minimum and maximum are known."""


def average(count: int, total: float, smallest: float, largest: float) -> float:
    """The average of `count` values, at least one; never below the minimum or above the maximum.

    A sum is rounded: 3,600 values of 1024.4 give an average of 1024.3999999999999, below each of them. 0.0 is added
    because the average of -5e-324 and 0.0 would be -0.0.
    """
    return min(max(total / count, smallest), largest) + 0.0
