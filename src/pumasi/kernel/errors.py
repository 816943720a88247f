"""The ways something is not done. Each carries all its reasons, in sentences for the person who reads them."""

from __future__ import annotations


class PumasiError(Exception):
    """Base of all; `exit_code` is what the command line ends with."""

    exit_code = 1

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = list(reasons)


class Refused(PumasiError):
    """A rule says no. Nothing was changed. A refusal never carries a number computed from data."""

    exit_code = 3


class Invalid(PumasiError):
    """The input cannot be used: what, where, and what to do."""

    exit_code = 2


class NotFound(PumasiError):
    """The thing named does not exist here."""

    exit_code = 2


class Tampered(PumasiError):
    """A signature, hash or proof does not hold: somebody changed something."""

    exit_code = 1


class Unreachable(PumasiError):
    """The other side does not answer. Nothing is known about whether it heard; every request may be sent again."""


def refuse_if(*reasons: str | None) -> None:
    """Raise `Refused` with every reason that is not None; all at once, so that nobody learns them one by one."""
    given = [reason for reason in reasons if reason is not None]
    if given:
        raise Refused(*given)
