"""How documents are typed: strict, frozen, no unknown field, and every reason why one does not fit."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from pumasi.kernel.errors import Invalid


def _one_line(text: str) -> str:
    if text != text.strip() or not text.isprintable():
        raise ValueError("must be one printable line without spaces at its ends")
    return text


def _composed(text: str) -> str:
    # 가 as one character or as two looks the same to a reader: a name is written in one way only.
    if unicodedata.normalize("NFC", text) != text:
        raise ValueError("must be in Unicode normal form C")
    return text


def _in_the_calendar(text: str) -> str:
    datetime.fromisoformat(text)
    return text


# A member's name as its people write it (Korean or Latin); a person is `someone@member`.
MemberId = Annotated[str, StringConstraints(pattern=r"^[^@|/\\\x00-\x1f]{1,64}$"), AfterValidator(_one_line), AfterValidator(_composed)]
PersonId = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}@[^@|/\\\x00-\x1f]{1,64}$"), AfterValidator(_one_line), AfterValidator(_composed)
]
RandomId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# 32 bytes in the one way that base64 writes them: the last digit carries four bits.
PublicKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$")]
Signature = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{85}[AQgw]==$")]
# Days and instants are compared as text, so every digit is an ASCII one and the calendar must know them.
Instant = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"), AfterValidator(_in_the_calendar)
]
Day = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(_in_the_calendar)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=300), AfterValidator(_one_line)]


class Model(BaseModel):
    """A document that travels."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @classmethod
    def read(cls, value: Any) -> Self:
        """The document in a JSON value; `Invalid` with one sentence per field that does not fit (never the value itself)."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise Invalid(*(f"{cls.__name__}: {_where(e['loc'])}{e['msg'].lower()}" for e in error.errors(include_input=False))) from error

    def plain(self) -> dict[str, Any]:
        """The JSON value, as it is signed."""
        return self.model_dump(mode="json")


def _where(location: tuple[int | str, ...]) -> str:
    return f"{'.'.join(str(part) for part in location)}: " if location else ""
