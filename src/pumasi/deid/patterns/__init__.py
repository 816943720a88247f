"""Finds identifiers in a text: `find(text)` gives spans with kind, confidence and reason, and never the text itself.

Pure: no file but the word lists of this package is read. Used by `deid suggest` on table cells; made to serve clinical notes too.
Limits: handwriting, pictures, ciphers, identifiers split over cells, and names that no list knows and no title marks are not found.
"""

from __future__ import annotations

import re
from itertools import chain

from pumasi.deid.patterns import addresses, contacts, dates, disguise, labels, names, numbers
from pumasi.deid.patterns.kinds import ENGLISH, INDIRECT, KOREAN, LIKELY, POSSIBLE, SURE, Kind, Span

__all__ = ["ENGLISH", "INDIRECT", "KOREAN", "LIKELY", "POSSIBLE", "SURE", "Kind", "Span", "find"]

_LETTER = re.compile(r"[^\W\d_]")
DEEPEST = 3  # codes within codes: base64 of JSON of base64


def find(text: str, *, depth: int = DEEPEST) -> list[Span]:
    """The identifiers in `text`, in order, none inside another of the same kind; places are those of the original text.

    What is encoded (base64, hexadecimal, URL, HTML or JSON escapes, a wrong encoding) is opened, `depth` levels deep, and found there
    as well; the span is then the whole encoded piece. Confidence is that of the form: how usual a kind is in a column is for the caller.
    """
    seen = disguise.plain(text)
    finders = (numbers, contacts, dates, labels, names, addresses) if _LETTER.search(seen.text) else (numbers, contacts, dates)
    spans = [
        Span(*seen.place(span.start, span.end), span.kind, round(span.confidence, 2), span.why)
        for span in chain.from_iterable(finder.find(seen.text) for finder in finders)
    ]
    if depth:
        for layer in disguise.layers(seen.text):
            place = seen.place(layer.start, layer.end)
            if layer.text is None:
                spans.append(Span(*place, Kind.IMAGE, 0.9, f"a picture or file as {layer.how}"))
                continue
            for inner in find(layer.text, depth=depth - 1):
                spans.append(Span(*place, inner.kind, inner.confidence, f"{inner.why}, inside {layer.how}"))
    return merged(spans)


def merged(spans: list[Span]) -> list[Span]:
    """None that overlap: the surer one stays, of equals the longer; a likely direct identifier goes before the date that begins it."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (-_weight(span), span.start - span.end, span.start)):
        if not any(span.start < other.end and other.start < span.end for other in kept):
            kept.append(span)
    return sorted(kept, key=lambda span: (span.start, span.end))


def _weight(span: Span) -> float:
    return span.confidence + (span.confidence >= LIKELY and span.kind not in INDIRECT)
