"""Money is a whole number of nano-dollars: 1 USD is 1,000,000,000.

We believe a ledger may round once, where a number enters, and never again. OpenRouter sends JSON numbers with up to
seventeen digits; a nano-dollar is finer than any price it charges and coarse enough that a 64-bit integer holds nine
billion dollars. So every amount inside Reckon is a plain `int` whose name ends in `_nanos`. A wrapper class would be
taken off again at every row and every sum, so this module is functions: in at the edge, out at the edge.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Final

NANOS_PER_USD: Final = 1_000_000_000

# Above a billion dollars a counter says more about its sender than about spend.
HIGHEST_PLAUSIBLE_NANOS: Final = 1_000_000_000 * NANOS_PER_USD
# A key that grew by more than a million dollars between two looks has been misread, or swapped with another.
HIGHEST_PLAUSIBLE_GROWTH_NANOS: Final = 1_000_000 * NANOS_PER_USD

_NANO: Final = Decimal("1e-9")
_HIGHEST_USD: Final = HIGHEST_PLAUSIBLE_NANOS // NANOS_PER_USD
_CONTEXT: Final = Context(prec=40, rounding=ROUND_HALF_EVEN)


class ImplausibleMoney(ValueError):
    """An amount that no counter of dollars can show. The text says why, and holds nothing but the reason."""


def nanos_from_usd(usd: Decimal | int) -> int:
    """Return *usd* in nano-dollars, rounded half-even.

    Raises:
        ImplausibleMoney: *usd* is not a number, is negative, or is above $1,000,000,000. Minus zero is zero.
    """
    amount = Decimal(usd)
    if not amount.is_finite():
        raise ImplausibleMoney("not a finite number")
    if amount < 0:
        raise ImplausibleMoney("negative money")
    if amount > _HIGHEST_USD:
        raise ImplausibleMoney("more than $1,000,000,000")
    try:
        return int(amount.quantize(_NANO, context=_CONTEXT).scaleb(9, context=_CONTEXT))
    except InvalidOperation:
        raise ImplausibleMoney("not a number of dollars") from None


def signed_nanos_from_usd(usd: Decimal | int) -> int:
    """Return *usd* in nano-dollars where a negative amount is sound, as in an overdrawn account balance.

    Raises:
        ImplausibleMoney: as `nanos_from_usd`, but for the sign.
    """
    amount = Decimal(usd)
    return -nanos_from_usd(amount.copy_negate()) if amount.is_signed() else nanos_from_usd(amount)


def usd_text(nanos: int) -> str:
    """Return the amount as an exact decimal string of dollars with nine places: `"0.001400000"`."""
    sign = "-" if nanos < 0 else ""
    dollars, rest = divmod(abs(nanos), NANOS_PER_USD)
    return f"{sign}{dollars}.{rest:09d}"


def dollars(nanos: int) -> str:
    """Return the amount as a person reads it: `$1,234.50`, and below a cent as many places as it takes.

    Rounded half-even to cents; less than a cent keeps two significant digits (`$0.00042`), so that money is never shown
    as none.
    """
    sign = "-" if nanos < 0 else ""
    size = abs(nanos)
    if 0 < size < NANOS_PER_USD // 100:
        places = 9 - len(str(size)) + 2
        rounded = _rounded(size, 10 ** max(0, 9 - places))
        return f"{sign}${usd_text(rounded)[: 2 + min(places, 9)]}"
    cents = _rounded(size, NANOS_PER_USD // 100) // (NANOS_PER_USD // 100)
    return f"{sign}${cents // 100:,}.{cents % 100:02d}"


def _rounded(size: int, unit: int) -> int:
    quotient, rest = divmod(size, unit)
    up = rest * 2 > unit or (rest * 2 == unit and quotient % 2 == 1)
    return (quotient + up) * unit
