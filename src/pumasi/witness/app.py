"""The witness's HTTP face: `POST /add-checkpoint` as C2SP tlog-witness has it, and its key and newest heads for whoever asks."""

# No `from __future__ import annotations`: FastAPI must see the dependencies that the routes below define.

from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from pumasi.kernel.envelope import unb64
from pumasi.kernel.errors import PumasiError, Tampered
from pumasi.witness.memory import Conflict, Inconsistent, Malformed, Memory, NotSigned, UnknownLog

MAX_BODY, MAX_PROOF = 1 << 16, 63  # bytes, hashes
STATUS: dict[type[PumasiError], int] = {Malformed: 400, NotSigned: 403, UnknownLog: 404, Conflict: 409, Inconsistent: 422}


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise Malformed("a request is at most 64 KiB long")
        parts.append(part)
    return b"".join(parts)


def make_app(memory: Memory) -> FastAPI:
    app = FastAPI(title="Pumasi witness", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(PumasiError, _explain)

    @app.post("/add-checkpoint")
    def add(body: Annotated[bytes, Depends(_body)]) -> Response:
        old, proof, checkpoint = read(body)
        return PlainTextResponse(memory.add(old, proof, checkpoint) + "\n")

    @app.get("/")
    def about() -> Response:
        return PlainTextResponse(f"{memory.vkey}\n")

    return app


def read(body: bytes) -> tuple[int, list[bytes], str]:
    """Old size, proof and checkpoint of a request; `Malformed` when it is not written as tlog-witness has it."""
    try:
        head, separator, checkpoint = body.decode("utf-8").partition("\n\n")
        first, *hashes = head.split("\n")
        word, _, size = first.partition(" ")
        if not separator or word != "old" or not size.isdecimal() or str(int(size)) != size or len(size) > 19:
            raise Malformed("a request begins with a line 'old SIZE', and an empty line comes before the checkpoint")
        if len(hashes) > MAX_PROOF:
            raise Malformed("a consistency proof has at most 63 hashes")
        return int(size), [unb64(line, 32) for line in hashes], checkpoint
    except (UnicodeDecodeError, Tampered) as error:
        raise Malformed("a request is UTF-8 text, its proof lines of base64") from error


def _explain(_: Request, error: Exception) -> Response:
    assert isinstance(error, PumasiError)
    if isinstance(error, Conflict):
        return Response(f"{error.size}\n", 409, media_type="text/x.tlog.size")
    return PlainTextResponse("".join(f"{reason}\n" for reason in error.reasons), STATUS.get(type(error), 500))
