"""A body that lives outside the log, behind a salted commitment inside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any, Literal

from pumasi.kernel.envelope import canonical, commit, new_salt, parse_canonical
from pumasi.kernel.errors import Tampered, refuse_if

DocumentState = Literal["here", "erased", "unknown"]
_SALT = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Document:
    """A body behind a salted commitment. Erase it and 32 random-looking bytes remain in the log."""

    salt: str
    body: Any

    @classmethod
    def new(cls, body: Any) -> Document:
        return cls(new_salt(), body)

    @classmethod
    def read(cls, data: bytes, commitment: str) -> Document:
        """The document in `data`; `Tampered` unless it is the one that was committed to."""
        value = parse_canonical(data)
        if not isinstance(value, dict) or value.keys() != {"salt", "body"} or not _SALT.fullmatch(str(value["salt"])):
            raise Tampered("a document has a body and a salt of 64 hexadecimal digits")
        if commit(value["salt"], value["body"]) != commitment:
            raise Tampered("a document is not the one that the log commits to")
        return cls(value["salt"], value["body"])

    @property
    def commitment(self) -> str:
        return commit(self.salt, self.body)

    @property
    def data(self) -> bytes:
        return canonical({"body": self.body, "salt": self.salt})


def keep_document(db: Connection, document: Document) -> None:
    """Keep it; `Refused` when it was erased here, for it must not come back by being sent again."""
    refuse_if("this document was erased here and is not taken in again" if document_state(db, document.commitment) == "erased" else None)
    db.execute("INSERT INTO documents VALUES (?, ?) ON CONFLICT DO NOTHING", (document.commitment, document.data))


def document_state(db: Connection, commitment: str) -> DocumentState:
    found = db.execute("SELECT data IS NOT NULL FROM documents WHERE commitment = ?", (commitment,)).fetchone()
    return "unknown" if found is None else "here" if found[0] else "erased"
