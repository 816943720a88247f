"""Takes the disguise off a text: width, hidden characters, decomposed Hangul, escapes; and opens what is encoded in it.

`plain` keeps for every character where it came from, so that a span in the plain text is a span in the original. `layers` are texts
inside the text (base64, hexadecimal, text read in the wrong encoding); what is found there covers the whole encoded piece. Linear in
the length of the text. Limits: ciphers, pictures of text, and pieces split over cells stay closed.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

LARGEST = 1_000_000  # characters of one opened piece

_DASHES = "‐‑‒–—―−﹘﹣－ー㇐ㅡ─━➖～〜∼"
_DOTS = "․‧・･·•∙⋅。｡．。"
_SAME = {ord(dash): "-" for dash in _DASHES} | {ord(dot): "." for dot in _DOTS} | {ord("＠"): "@", ord("﹫"): "@"}
_SAME |= dict.fromkeys(map(ord, "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u2800\u3164\uffa0"), "")
_ESCAPE = re.compile(
    r"&(?:\#[0-9]{1,7}|\#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});"
    r"|(?:%[0-9A-Fa-f]{2})+"
    r"|</?[A-Za-z][^<>]{0,200}>|[\[({][.@:][\])}]"
    r"|(?:=[0-9A-F]{2}(?:=?\r?\n)?){2,}"
    r"|(?:\\u[0-9a-fA-F]{4})+|(?:\\x[0-9a-fA-F]{2})+|\\u\{[0-9a-fA-F]{1,6}\}|%u[0-9a-fA-F]{4}"
)
_HINT = re.compile(r"[&%\\]|</?[A-Za-z]|[\[({][.@:][\])}]|=[0-9A-F]{2}=")
_CLUSTER = re.compile(r"[\u1100-\u115f\ua960-\ua97f][\u1160-\u11a7\ud7b0-\ud7c6]*[\u11a8-\u11ff\ud7cb-\ud7fb]*|.", re.DOTALL)


@dataclass(frozen=True)
class Plain:
    """A text without disguise; `at` holds for each character its place in the original (and the end), or None when nothing moved."""

    text: str
    at: Sequence[int] | None = None

    def place(self, start: int, end: int) -> tuple[int, int]:
        return (start, end) if self.at is None else (self.at[start], self.at[end])


def plain(text: str) -> Plain:
    """The text as a reader sees it: escapes resolved (three deep), compatibility forms composed, hidden characters gone, digits 0-9."""
    found = Plain(text)
    for _ in range(3):
        if not _HINT.search(found.text):
            break
        opened = _unescaped(found)
        if opened.text == found.text:
            break
        found = opened
    return found if found.text.isascii() and "\x7f" not in found.text else _uniform(found)


def _moved(origin: Plain, pieces: list[tuple[str, int]]) -> Plain:
    """Pieces of new text, each with the place in the old text that it stands for."""
    at: list[int] = []
    for piece, place in pieces:
        if len(piece) == 1:
            at.append(place)
        else:
            at.extend([place] * len(piece))
    at.append(len(origin.text))
    if origin.at is not None:
        at = [origin.at[place] for place in at]
    return Plain("".join(piece for piece, _ in pieces), at)


def _unescaped(origin: Plain) -> Plain:
    pieces: list[tuple[str, int]] = []
    text, last = origin.text, 0
    for match in _ESCAPE.finditer(text):
        pieces += [(character, last + step) for step, character in enumerate(text[last : match.start()])]
        opened = _resolve(match.group())
        if opened is None:
            pieces += [(character, match.start() + step) for step, character in enumerate(match.group())]
        else:
            pieces.append((opened, match.start()))
        last = match.end()
    if not pieces:
        return origin
    pieces += [(character, last + step) for step, character in enumerate(text[last:])]
    return _moved(origin, pieces)


def _resolve(escape: str) -> str | None:
    if escape[0] == "&":
        return html.unescape(escape)
    if escape[0] == "<":  # a tag; those that part lines leave a blank
        return " " if re.match(r"</?(?:br|p|div|li|tr|td|th)\b", escape, re.I) else ""
    if escape[0] in "[({":
        return escape[1]
    if escape[:2] in ("\\u", "%u"):
        units = [int(unit, 16) for unit in re.findall(r"[0-9a-fA-F]{4,6}", escape)]
        if any(unit > 0x10FFFF for unit in units):
            return None
        joined = "".join(map(chr, units))
        return joined.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if escape[0] == "%":
        return _text_of(unquote_to_bytes(escape))
    octets = bytes.fromhex("".join(re.findall(r"(?:=|\\x)([0-9A-Fa-f]{2})", escape)))
    return _text_of(octets)


def _uniform(origin: Plain) -> Plain:
    text = origin.text
    if unicodedata.is_normalized("NFKC", text) and not any(_odd(character) for character in set(text) if not character.isascii()):
        return origin
    known: dict[str, str] = {}
    pieces: list[tuple[str, int]] = []
    for match in _CLUSTER.finditer(text):
        cluster = match.group()
        if cluster not in known:
            known[cluster] = cluster if cluster.isascii() else _cluster(cluster)
        pieces.append((known[cluster], match.start()))
    return _moved(origin, pieces)


def _odd(character: str) -> bool:
    return ord(character) in _SAME or unicodedata.category(character) in ("Cf", "Mn", "Me", "Zs", "Nd", "No", "Cc", "Co")


def _cluster(cluster: str) -> str:
    cluster = cluster.translate(_SAME)
    if not cluster:
        return ""
    out = []
    for character in unicodedata.normalize("NFKC", cluster).translate(_SAME):
        kind = unicodedata.category(character)
        if kind in ("Nd", "No") and not character.isascii():
            digit = unicodedata.digit(character, None)
            out.append(character if digit is None else str(digit))
        elif kind == "Zs":
            out.append(" ")
        elif kind not in ("Cf", "Mn", "Me"):
            out.append(character)
    return "".join(out)


# --- texts inside the text ---

_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{8,}(?:\r?\n[A-Za-z0-9+/_-]{2,})*={0,2}")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:0x|\\x)?(?:[0-9a-fA-F]{2}[ :]?){6,}(?![0-9A-Za-z])")
_BASE32 = re.compile(r"(?<![A-Za-z0-9])[A-Z2-7]{16,}={0,6}(?![A-Za-z0-9])")
_LATIN = re.compile(r"[\u0080-\u00ff\u0152-\u0178\u02c6\u2013-\u203a\u20ac\u2122]{2}")
PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"%PDF-", b"PK\x03\x04", b"II*\x00", b"MM\x00*")


@dataclass(frozen=True)
class Layer:
    """A text (or, as bytes, a picture or file) that stands encoded between two places of a text, and how it was encoded."""

    start: int
    end: int
    how: str
    text: str | None


def layers(text: str) -> Iterator[Layer]:
    """Every text that is encoded in a text, where it decodes to something readable."""
    for how, pattern, decode in (("base64", _BASE64, _base64), ("hex", _HEX, _hex), ("base32", _BASE32, _base32)):
        for match in pattern.finditer(text) if len(text) >= 8 else ():
            octets = decode(match.group()[:LARGEST])
            if octets is None:
                continue
            if octets.startswith(PICTURES) or octets[128:132] == b"DICM":
                yield Layer(match.start(), match.end(), how, None)
            elif (inner := _text_of(_inflated(octets))) is not None and inner != match.group():
                yield Layer(match.start(), match.end(), how, inner)
    if not text.isascii() and _LATIN.search(text):
        for wrong in ("cp1252", "latin-1"):
            try:
                inner = _text_of(text.encode(wrong))
            except UnicodeEncodeError:
                continue
            if inner is not None and inner != text:
                yield Layer(0, len(text), "a wrong encoding", inner)
                break


def _base64(run: str) -> bytes | None:
    run = re.sub(r"\s", "", run).rstrip("=").replace("-", "+").replace("_", "/")
    if len(run) % 4 == 1 or (run.isdigit() or (run.isalpha() and (run.islower() or run.istitle()))):
        return None
    try:
        return base64.b64decode(run + "=" * (-len(run) % 4), validate=True)
    except binascii.Error:
        return None


def _hex(run: str) -> bytes | None:
    run = run.removeprefix("0x").removeprefix("\\x")
    digits = re.sub(r"[ :]", "", run)
    return None if digits.isdigit() and " " in run else bytes.fromhex(digits)


def _base32(run: str) -> bytes | None:
    run = run.rstrip("=")
    try:
        return base64.b32decode(run + "=" * (-len(run) % 8))
    except binascii.Error:
        return None


def _inflated(octets: bytes) -> bytes:
    """What a gzip or zlib stream holds, up to a bound; other bytes stay as they are."""
    if octets[:2] not in (b"\x1f\x8b", b"\x78\x9c", b"\x78\x01", b"\x78\xda"):
        return octets
    try:
        return zlib.decompressobj(47).decompress(octets, LARGEST)
    except zlib.error:
        return octets


def _text_of(octets: bytes) -> str | None:
    """The bytes as readable text: UTF-8, then UTF-16 where every second byte is zero, then CP949; None when they are no text."""
    encodings = ["utf-8", "cp949"]
    if octets[1::2].count(0) > len(octets) // 4 or octets[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ["utf-16"]
    for encoding in encodings:
        try:
            text = octets.decode(encoding)
        except UnicodeDecodeError:
            continue
        if text and _readable(text, hangul=encoding == "cp949"):
            return text
    return None


def _readable(text: str, *, hangul: bool) -> bool:
    """No control characters; from CP949, where nearly any two bytes are a character, only Hangul beside ASCII."""
    head = text[:2000]
    if any(unicodedata.category(character) in ("Cc", "Cn", "Co", "Cs") and character not in "\t\n\r" for character in head):
        return False
    return not hangul or all(character.isascii() or "가" <= character <= "힣" for character in head)
