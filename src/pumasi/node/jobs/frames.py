"""The one format that passes a sandbox's pipes: a 4-byte big-endian length, a JSON header of that length, then raw arrays.

The header is an object with `kind`, `arrays` (a list of name, dtype and shape, in the order of the bytes behind it) and the fields
of its kind. No pickle, no code. The node reads with a `Schema`, which is closed: a frame that is not exactly what was declared is refused
before one byte of its arrays is read.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # a worker starts faster without numpy.typing
    from numpy.typing import NDArray

Read = Callable[[int], bytearray]
Arrays = Mapping[str, "NDArray[Any]"]

MAX_HEADER = 1 << 24  # of a frame to the worker: levels and arguments
MAX_REPLY_HEADER = 1 << 14  # of a frame from the worker
MAX_REASONS, MAX_REASON = 20, 400
_DTYPES = {"float64": "<f8", "int64": "<i8", "int32": "<i4", "uint8": "|u1"}


class Malformed(ValueError):
    """The bytes are not a frame that was agreed on. The text says which rule was broken and repeats nothing of the bytes."""


@dataclass(frozen=True)
class ArraySpec:
    """One array of a frame; a dimension of None may have any length within the schema's size."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Schema:
    """All that a frame of one kind may be: these arrays in this order, these header fields, at most so many bytes of arrays."""

    kind: str
    arrays: tuple[ArraySpec, ...] = ()
    fields: frozenset[str] = field(default_factory=frozenset)
    max_bytes: int = 0


def encode(kind: str, fields: Mapping[str, Any], arrays: Arrays) -> list[bytes | memoryview]:
    """The frame as pieces to write one after the other; the arrays are not copied unless they lie scattered in memory."""
    flat = {name: np.ascontiguousarray(array, dtype=_DTYPES[array.dtype.name]) for name, array in arrays.items()}
    listed = [{"name": name, "dtype": array.dtype.name, "shape": list(array.shape)} for name, array in flat.items()]
    header = json.dumps({"kind": kind, **fields, "arrays": listed}, separators=(",", ":"), allow_nan=False).encode()
    if len(header) > MAX_HEADER:
        raise Malformed("the header of a frame is too long")
    return [struct.pack(">I", len(header)), header, *(array.data.cast("B") for array in flat.values() if array.size)]


def decode_header(read: Read, *, most: int) -> dict[str, Any]:
    """The next frame's header, an object whose `arrays` are well-formed; `read(n)` returns exactly n bytes or raises."""
    (length,) = struct.unpack(">I", read(4))
    if length > most:
        raise Malformed("the header of a frame is too long")
    try:
        header = json.loads(bytes(read(length)))
    except (ValueError, RecursionError):
        raise Malformed("the header of a frame is not JSON") from None
    if not isinstance(header, dict) or not isinstance(header.get("kind"), str) or not isinstance(header.get("arrays"), list):
        raise Malformed("the header of a frame lacks its kind or its arrays")
    if not all(_describes_an_array(listed) for listed in header["arrays"]):
        raise Malformed("the header of a frame describes an array wrongly")
    return header


def decode_arrays(read: Read, header: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The arrays behind a header that `decode_header` returned and, for bytes from a sandbox, a schema accepted."""
    arrays: dict[str, NDArray[Any]] = {}
    for listed in header["arrays"]:
        dtype = np.dtype(_DTYPES[listed["dtype"]])
        raw = read(math.prod(listed["shape"]) * dtype.itemsize)
        arrays[listed["name"]] = np.frombuffer(raw, dtype=dtype).reshape(listed["shape"])
    return arrays


def matching(header: Mapping[str, Any], schemas: Sequence[Schema]) -> Schema:
    """The one schema that the header keeps to the letter; `Malformed` says what it breaks."""
    schema = next((schema for schema in schemas if schema.kind == header["kind"]), None)
    if schema is None:
        raise Malformed("it sent a kind of frame that was not agreed on")
    if set(header) != {"kind", "arrays"} | schema.fields:
        raise Malformed("it sent header fields that were not agreed on")
    listed = header["arrays"]
    if [(one["name"], one["dtype"], len(one["shape"])) for one in listed] != [
        (spec.name, spec.dtype, len(spec.shape)) for spec in schema.arrays
    ]:
        raise Malformed("it sent other arrays than were agreed on")
    if any(
        wanted not in (None, length)
        for one, spec in zip(listed, schema.arrays, strict=True)
        for length, wanted in zip(one["shape"], spec.shape, strict=True)
    ):
        raise Malformed("it sent an array of another shape than was agreed on")
    if sum(math.prod(one["shape"]) * np.dtype(_DTYPES[one["dtype"]]).itemsize for one in listed) > schema.max_bytes:
        raise Malformed("it sent more bytes than its output limit allows")
    return schema


def _describes_an_array(listed: object) -> bool:
    if not isinstance(listed, dict) or set(listed) != {"name", "dtype", "shape"}:
        return False
    shape = listed["shape"]
    return (
        isinstance(listed["name"], str)
        and listed["dtype"] in list(_DTYPES)
        and isinstance(shape, list)
        and len(shape) <= 3
        and all(type(length) is int and 0 <= length < 1 << 40 for length in shape)
    )
