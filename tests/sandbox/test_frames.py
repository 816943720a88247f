"""Frames: what is written is read back, and what a sandbox may not send is refused before its arrays are read."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from pumasi.node.jobs import frames

SHARE = frames.Schema(
    "share", (frames.ArraySpec("share", "float64", (None,)), frames.ArraySpec("pair", "int32", (2, None))), frozenset({"note"}), 64
)
GOOD: dict[str, Any] = {
    "kind": "share",
    "note": 1,
    "arrays": [{"name": "share", "dtype": "float64", "shape": [3]}, {"name": "pair", "dtype": "int32", "shape": [2, 4]}],
}


def reader(content: bytes) -> frames.Read:
    rest = bytearray(content)

    def read(count: int) -> bytearray:
        if len(rest) < count:
            raise EOFError
        piece = rest[:count]
        del rest[:count]
        return piece

    return read


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.sampled_from(["float64", "int64", "int32", "uint8"]).flatmap(
            lambda dtype: arrays_of.arrays(np.dtype(dtype), arrays_of.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
        ),
        max_size=4,
    ),
    st.text(max_size=20),
)
def test_a_frame_is_read_back_as_it_was_written(arrays: dict[str, Any], note: str) -> None:
    read = reader(b"".join(frames.encode("anything", {"note": note}, arrays)))
    header = frames.decode_header(read, most=frames.MAX_HEADER)
    back = frames.decode_arrays(read, header)
    assert (header["kind"], header["note"], list(back)) == ("anything", note, list(arrays))
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype
    with pytest.raises(EOFError):
        read(1)


def test_scattered_arrays_are_written_in_order() -> None:
    array = np.arange(12, dtype=np.int64)[::3]
    read = reader(b"".join(frames.encode("anything", {}, {"a": array})))
    assert frames.decode_arrays(read, frames.decode_header(read, most=99))["a"].tolist() == [0, 3, 6, 9]


def changed(**fields: Any) -> dict[str, Any]:
    return {**GOOD, **fields}


def changed_array(**fields: Any) -> dict[str, Any]:
    return changed(arrays=[{**GOOD["arrays"][0], **fields}, GOOD["arrays"][1]])


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ([], "lacks its kind"),
        ({"kind": 1, "arrays": []}, "lacks its kind"),
        ({"kind": "share"}, "lacks its kind"),
        (changed(kind="pickle"), "a kind of frame that was not agreed on"),
        (changed(more=1), "header fields"),
        ({key: value for key, value in GOOD.items() if key != "note"}, "header fields"),
        (changed(arrays=[]), "other arrays"),
        (changed(arrays=GOOD["arrays"][::-1]), "other arrays"),
        (changed(arrays=[*GOOD["arrays"], GOOD["arrays"][0]]), "other arrays"),
        (changed(arrays=[1, 2]), "describes an array wrongly"),
        (changed_array(name="other"), "other arrays"),
        (changed_array(name=[]), "describes an array wrongly"),
        (changed_array(dtype="int64"), "other arrays"),
        (changed_array(dtype="object"), "describes an array wrongly"),
        (changed_array(dtype=["<f8"]), "describes an array wrongly"),
        (changed_array(extra=1), "describes an array wrongly"),
        (changed_array(shape=[3, 1]), "other arrays"),
        (changed_array(shape=[-1]), "describes an array wrongly"),
        (changed_array(shape=[True]), "describes an array wrongly"),
        (changed_array(shape=[1.0]), "describes an array wrongly"),
        (changed_array(shape=[1 << 60]), "describes an array wrongly"),
        (changed_array(shape=[5]), "more bytes"),
        (changed(arrays=[GOOD["arrays"][0], {"name": "pair", "dtype": "int32", "shape": [3, 1]}]), "another shape"),
    ],
)
def test_a_header_that_was_not_agreed_on_is_refused(header: Any, words: str) -> None:
    content = json.dumps(header).encode()
    with pytest.raises(frames.Malformed, match=words):
        frames.matching(frames.decode_header(reader(struct.pack(">I", len(content)) + content), most=frames.MAX_REPLY_HEADER), [SHARE])


def test_the_header_that_was_agreed_on_is_taken() -> None:
    assert frames.matching(GOOD, [frames.Schema("ready"), SHARE]) is SHARE


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 10_000, b"9" * 5_000, b"nonsense"])
def test_what_is_not_json_is_refused(content: bytes) -> None:
    with pytest.raises(frames.Malformed):
        frames.decode_header(reader(struct.pack(">I", len(content)) + content), most=frames.MAX_REPLY_HEADER)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_make_a_share(content: bytes) -> None:
    with pytest.raises((frames.Malformed, EOFError)):
        frames.matching(frames.decode_header(reader(content), most=frames.MAX_REPLY_HEADER), [SHARE])


def test_a_long_header_is_refused_unread() -> None:
    with pytest.raises(frames.Malformed, match="too long"):
        frames.decode_header(reader(struct.pack(">I", frames.MAX_REPLY_HEADER + 1)), most=frames.MAX_REPLY_HEADER)
    with pytest.raises(frames.Malformed, match="too long"):
        frames.encode("load", {"levels": "x" * frames.MAX_HEADER}, {})
