"""The only three kinds of thing that ever leave a node. The courier takes each by its own type, so nothing else has a way out."""

from __future__ import annotations

from dataclasses import dataclass

from pumasi.store.document import Document


@dataclass(frozen=True)
class SignedEvent:
    """An act of this hospital for the shared log, with the document it commits to if the other parties need it."""

    data: bytes
    document: Document | None


@dataclass(frozen=True)
class SealedShare:
    """A message of a running job to the other hospitals, encrypted under a key that only they hold."""

    job: str
    label: str
    data: bytes


@dataclass(frozen=True)
class Release:
    """This hospital's part of the key to a reviewed result, sealed to the applicant."""

    job: str
    data: bytes
