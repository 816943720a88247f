"""What the routes of the hub have in common: how a request is read, who signed it, and how a refusal is answered."""

# No `from __future__ import annotations`: FastAPI must see the dependencies that these functions have.

from typing import Annotated

from fastapi import Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import StringConstraints
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from pumasi.hub.callers import Asked, Caller, Callers
from pumasi.kernel import request as signed_request
from pumasi.kernel.errors import Invalid, PumasiError, refuse_if

MAX_BODY = 32 << 20
AT_ONCE = 256 << 10  # bytes of a body that are hashed at once: handing a short one to a thread takes longer than all of the check
STATUS = {"Refused": 409, "Invalid": 422, "NotFound": 404, "Tampered": 401, "Recovering": 503}


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        refuse_if(f"a request holds at most {MAX_BODY >> 20} MiB" if size > MAX_BODY else None)
        parts.append(part)
    return b"".join(parts)


Body = Annotated[bytes, Depends(_body)]
Index = Annotated[int, Query(ge=0, lt=2**53)]
Seconds = Annotated[float, Query(ge=0, allow_inf_nan=False)]
Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")]


def text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid("the body of this request must be UTF-8 text") from error


def asked(request: Request, body: bytes) -> Asked:
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    address = request.client.host if request.client else ""
    return Asked(request.method, target, body, request.headers.get(signed_request.HEADER), address)


async def caller(request: Request, body: Body) -> Caller:
    """Whoever signed this request; `Tampered` when nobody did."""
    callers: Callers = request.app.state.callers
    question = asked(request, body)
    if len(body) > AT_ONCE:
        return await run_in_threadpool(callers.authenticate, question)
    return callers.authenticate(question)


Signed = Annotated[Caller, Depends(caller)]


def explain(_: Request, error: Exception) -> Response:
    """Every answer that is no result has its reasons."""
    if isinstance(error, RequestValidationError):
        reasons = [f"{'.'.join(map(str, fault['loc']))}: {str(fault['msg']).lower()}" for fault in error.errors()]
        return JSONResponse({"reasons": reasons}, status_code=422)
    if isinstance(error, HTTPException):
        return JSONResponse(
            {"reasons": [f"the hub has no such address or takes no such request there ({error.detail})"]}, error.status_code
        )
    assert isinstance(error, PumasiError)
    return JSONResponse({"reasons": error.reasons}, status_code=STATUS.get(type(error).__name__, 500))
