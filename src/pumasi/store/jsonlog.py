"""Logs as JSON lines for machines: what happened to which case or job, never a value from data."""

from __future__ import annotations

import json
import logging
import threading
from datetime import UTC, datetime
from pathlib import Path


class _Lines(logging.Formatter):
    def __init__(self, party: str) -> None:
        super().__init__()
        self._party = party

    def format(self, record: logging.LogRecord) -> str:
        line = {"at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"), "party": self._party}
        line |= {"level": record.levelname.lower(), "where": record.name, "what": record.getMessage()}
        if record.exc_info and record.exc_info[0]:
            # The kind and the place of a failure; its text and its values may hold what was read, so they stay out.
            line |= {"failure": record.exc_info[0].__name__, "place": _place(record)}
        return json.dumps(line, ensure_ascii=False)


def _place(record: logging.LogRecord) -> str:
    trace = record.exc_info[2] if record.exc_info else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""


def _log_thread(failure: threading.ExceptHookArgs) -> None:
    logging.getLogger("pumasi").error(
        "a thread ended by an error", exc_info=(failure.exc_type, failure.exc_value or failure.exc_type(), failure.exc_traceback)
    )


def start_logging(path: Path, party: str) -> None:
    """Append to `path` (mode 0600) from now on."""
    path.touch(mode=0o600)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(_Lines(party))
    threading.excepthook = _log_thread
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
