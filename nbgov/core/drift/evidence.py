"""How likely a difference is by chance: tails of the distributions that the drift rules need.

Written by hand: importing scipy costs seconds, and these few lines are all that is used of it.
"""

from __future__ import annotations

import math

PRECISION = 1e-12


def normal_tail(z: float) -> float:
    """The chance of a standard normal value at least as far from zero, on either side.

    >>> round(normal_tail(1.959964), 6)
    0.05
    """
    return math.erfc(abs(z) / math.sqrt(2))


def chi2_tail(x: float, degrees: int) -> float:
    """The chance of a chi-squared value of at least ``x``.

    >>> round(chi2_tail(16.918978, 9), 6), chi2_tail(1.0, 0)
    (0.05, 1.0)
    """
    if degrees < 1 or x <= 0:
        return 1.0
    shape, point = degrees / 2, x / 2
    scale = math.exp(shape * math.log(point) - point - math.lgamma(shape))
    if point < shape + 1:
        return max(0.0, 1 - scale * lower_series(shape, point))
    return min(1.0, scale * upper_fraction(shape, point))


def lower_series(shape: float, point: float) -> float:
    """The lower incomplete gamma function over ``point**shape * exp(-point)``, by its series."""
    total = term = 1 / shape
    while term > total * PRECISION:
        shape += 1
        term *= point / shape
        total += term
    return total


def upper_fraction(shape: float, point: float) -> float:
    """The upper incomplete gamma function over the same, by its continued fraction (Lentz)."""
    b = point + 1 - shape
    c, d, step = math.inf, 1 / b, 0
    result = change = d
    while abs(change - 1) > PRECISION:
        step += 1
        a = step * (shape - step)
        b += 2
        c, d = b + a / c, 1 / (b + a * d)
        change = c * d
        result *= change
    return result


def kolmogorov_tail(distance: float, n_left: int, n_right: int) -> float:
    """The chance that two samples of one distribution differ by ``distance`` (Kolmogorov-Smirnov).

    >>> round(kolmogorov_tail(0.1923, 100, 100), 2), kolmogorov_tail(0.0, 9, 9)
    (0.04, 1.0)
    """
    root = math.sqrt(n_left * n_right / (n_left + n_right))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.2:  # noqa: PLR2004 - the series does not settle there, and the chance is 1.
        return 1.0
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, math.fsum(terms)))


def proportions_tail(hits_left: int, n_left: int, hits_right: int, n_right: int) -> float:
    """The chance that two samples with one true share differ this much (two-proportion z-test)."""
    pooled = (hits_left + hits_right) / (n_left + n_right)
    variance = pooled * (1 - pooled) * (1 / n_left + 1 / n_right)
    if variance <= 0:
        return 1.0
    return normal_tail((hits_left / n_left - hits_right / n_right) / math.sqrt(variance))


def outside_tail(rows: float, n_left: int, n_right: int) -> float:
    """The chance that so many rows of the right sample lie outside the bounds of the left one.

    The rows beyond two given ones of a shuffled sequence follow a negative binomial distribution.

    >>> outside_tail(0, 50, 50), round(outside_tail(14, 1000, 1000), 6)
    (1.0, 0.000488)
    """
    share = n_right / (n_left + n_right)
    return float(share**rows * (1 + rows * (1 - share)))
