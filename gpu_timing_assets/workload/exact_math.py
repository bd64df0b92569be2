"""Logarithm, exponential and normal quantile from +, −, ×, ÷ and √ alone, so that every machine
gives the same bits.

IEEE 754 fixes the result of those five; a math library's `log` or `exp` may differ in the last bit
between versions and processors, and one such bit is enough to move a rounded nanosecond.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# ln 2 in two parts: the first has 32 significant bits, so that its product with an exponent is
# exact
_LN2_HIGH = 0.693147180369123816490
_LN2_LOW = 1.90821492927058770002e-10
_LOG2_E = 1.4426950408889634

# Wichura, "Algorithm AS 241: The Percentage Points of the Normal Distribution", Applied Statistics
# 37 (1988), PPND16: numerators and denominators for the centre, the tails and the far tails, lowest
# power first
# fmt: off
_CENTRE = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
     1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
     3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2,
     5.3941960214247511077e3, 2.1213794301586595867e4, 3.9307895800092710610e4,
     2.8729085735721942674e4, 5.2264952788528545610e3),
)
_TAIL = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
     3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
     2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0,
     6.89767334985100004550e-1, 1.48103976427480074590e-1, 1.51986665636164571966e-2,
     5.47593808499534494600e-4, 1.05075007164441684324e-9),
)
_FAR_TAIL = (
    (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
     2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
     2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1,
     1.48753612908506148525e-2, 7.86869131145613259100e-4, 1.84631831751005468180e-5,
     1.42151175831644588870e-7, 2.04426310338993978564e-15),
)
# fmt: on


def log(x: Floats | float) -> Floats:
    """Natural logarithm of positive, finite `x`, any shape.

    With x = m·2^e and m in [√½, √2): ln x = e·ln 2 + 2·artanh((m − 1)/(m + 1)), the second by its
    series.
    """
    mantissa, exponent = np.frexp(np.asarray(x, dtype=np.float64))
    low = mantissa < 0.7071067811865476
    mantissa = np.where(low, mantissa * 2.0, mantissa)
    power = exponent - low
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    square = ratio * ratio
    series = _polynomial(square, tuple(1.0 / (2 * k + 1) for k in range(12)))
    return power * _LN2_HIGH + (2.0 * ratio * series + power * _LN2_LOW)


def exp(x: Floats | float) -> Floats:
    """Exponential of `x`, any shape, |x| < 700.

    With x = n·ln 2 + r and |r| ≤ ½·ln 2: e^x = 2^n · e^r, the second by its Taylor series.
    """
    x = np.asarray(x, dtype=np.float64)
    power = np.rint(x * _LOG2_E)
    rest = (x - power * _LN2_HIGH) - power * _LN2_LOW
    factorial, coefficients = 1.0, [1.0]
    for k in range(1, 15):
        factorial *= k
        coefficients.append(1.0 / factorial)
    return np.ldexp(_polynomial(rest, tuple(coefficients)), power.astype(np.int32))


def normal_quantile(probability: Floats) -> Floats:
    """Inverse of the standard normal's distribution function at 0 < p < 1 (AS 241, error 1e-16)."""
    centred = probability - 0.5
    inside = 0.425 * 0.425 - centred * centred
    centre = centred * _ratio(inside, _CENTRE)
    # the tails are evaluated everywhere and picked where they hold: branches cost more than
    # arithmetic here
    distance = np.sqrt(-log(np.minimum(probability, 1.0 - probability)))
    tail = np.where(
        distance <= 5.0, _ratio(distance - 1.6, _TAIL), _ratio(distance - 5.0, _FAR_TAIL)
    )
    return np.where(np.abs(centred) <= 0.425, centre, np.where(centred < 0.0, -tail, tail))


def _ratio(x: Floats, coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> Floats:
    return _polynomial(x, coefficients[0]) / _polynomial(x, coefficients[1])


def _polynomial(x: Floats, coefficients: tuple[float, ...]) -> Floats:
    """Horner's rule, lowest power first."""
    total = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total
