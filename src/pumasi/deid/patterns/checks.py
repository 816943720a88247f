"""Check digits and number plans: whether a row of digits can be a number of a kind. Digits in, a yes or no out."""

from __future__ import annotations

from datetime import date

_RRN_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
# Century of birth by the seventh digit: 9, 0 before 1900; 1, 2 and 5, 6 (foreigners) 1900s; 3, 4 and 7, 8 (foreigners) 2000s.
_CENTURY = {9: 1800, 0: 1800, 1: 1900, 2: 1900, 5: 1900, 6: 1900, 3: 2000, 4: 2000, 7: 2000, 8: 2000}

RANDOM_SINCE = date(2020, 10, 5)
"""주민등록법 시행규칙, in force from 5 October 2020: numbers given from then on end in six random digits."""


def born(rrn: str) -> date | None:
    """The date of birth in a resident or foreigner registration number of 13 digits; None when there is no such day."""
    try:
        return date(_CENTURY[int(rrn[6])] + int(rrn[:2]), int(rrn[2:4]), int(rrn[4:6]))
    except ValueError:
        return None


def foreigner(rrn: str) -> bool:
    return rrn[6] in "5678"


def rrn_check(rrn: str) -> bool:
    """Whether the thirteenth digit is the check digit of the other twelve: modulo 11, two more for foreigners."""
    total = sum(weight * int(digit) for weight, digit in zip(_RRN_WEIGHTS, rrn[:12], strict=True))
    return ((13 if foreigner(rrn) else 11) - total % 11) % 10 == int(rrn[12])


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B: cards and IMEI."""
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def card_issuer(digits: str) -> bool:
    """Whether the first digits are those of a card scheme, and the length is the scheme's (9: cards that are valid in Korea alone)."""
    match len(digits):
        case 16:
            return digits[0] in "4569" or "2221" <= digits[:4] <= "2720" or digits[:2] in ("35", "36")
        case 15:
            return digits.startswith(("34", "37", "1800", "2131"))
        case 14:
            return digits.startswith(("30", "36", "38", "39"))
        case 13 | 19:
            return digits[0] == "4" or (len(digits) == 19 and digits[0] == "6")
    return False


def business_check(digits: str) -> bool:
    """사업자등록번호 of ten digits: weights 1 3 7 1 3 7 1 3 5, the tens of the last product added."""
    total = sum(int(digit) * weight for digit, weight in zip(digits, (1, 3, 7, 1, 3, 7, 1, 3, 5), strict=False))
    return (10 - (total + int(digits[8]) * 5 // 10) % 10) % 10 == int(digits[9])


def ean13(digits: str) -> bool:
    """A trade item number of 13 digits (GS1), as on drug packages."""
    return sum(int(digit) * (1 + 2 * (place % 2)) for place, digit in enumerate(digits)) % 10 == 0


def ssn(digits: str) -> bool:
    """A social security number that can have been issued: no area 000, 666 or 9xx, no group 00, no serial 0000."""
    return digits[:3] not in ("000", "666") and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"


def real_day(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True
