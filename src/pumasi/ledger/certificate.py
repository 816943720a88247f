"""The certificate of deletion of one hospital, from a case bundle alone: verified facts, then the same facts as a page or as text.

It reads ONE-SIDED until the coordinating body has signed too, and says with what it proves also what no cryptography can. Nothing here
is believed that `verify` has not checked; instants are what their authors wrote, and the cosigners say by when at the latest.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import unquote

from pumasi.kernel.certificate import UNPROVABLE
from pumasi.kernel.errors import Invalid, NotFound, Tampered
from pumasi.ledger import verify
from pumasi.ledger.verify import Entry, Side, Verified

FORMAT = "pumasi deletion certificate v1"

# Facts as people read them: where they stand, in Korean, in English.
ROWS: list[tuple[str, str, str]] = [
    ("hospital", "병원", "Hospital"),
    ("case", "과제", "Case"),
    ("permit", "허가 (약속값)", "Permit (commitment)"),
    ("valid", "허가 기간", "Permit valid"),
    ("purpose", "이용 목적", "Purpose"),
    ("legal_basis", "법적 근거", "Legal basis"),
    ("manifest", "작업공간 명세 (약속값)", "Manifest (commitment)"),
    ("ciphertext", "암호문 SHA-256", "Ciphertext SHA-256"),
    ("objects", "객체 수", "Objects"),
    ("bytes", "바이트", "Bytes"),
    ("algorithm", "암호 알고리즘", "Algorithm"),
    ("released", "이미 반출된 결과 (파기 대상 아님)", "Results released before (not covered)"),
    ("not_covered", "파기가 미치지 않는 것", "Not covered"),
    ("unprovable", "증명할 수 없는 것", "What cannot be proven"),
]
SIDE_ROWS: list[tuple[str, str, str]] = [
    ("signer", "서명 기관", "Signed by"),
    ("fingerprint", "키 지문", "Key fingerprint"),
    ("method", "키 파기 방법", "How the key was destroyed"),
    ("test", "복호 실패 시험", "Failed-decryption test"),
    ("purged", "삭제 (남은 개수)", "Purged (left)"),
    ("backups", "알려진 백업과 만료일", "Known backups and their expiry"),
    ("at", "서명자가 적은 시각", "Instant the signer wrote"),
    ("entry", "원장 항목", "Entry of the log"),
]


def facts(bundle: bytes, hospital: str, *, policy: bytes | None = None) -> dict[str, Any]:
    """What is certified about the deletion at one hospital; `Tampered` unless the bundle verifies (under the policy, if one is given)."""
    try:
        verified = verify.verify(bundle, may_be_open=True)
        verify.need(*((False, reason) for reason in (verify.policy_refusals(verify.read_policy(policy), verified) if policy else [])))
    except verify.Broken as broken:
        raise Tampered(*broken.reasons) from broken
    history = verified.history
    if hospital not in history.sides:
        raise Invalid(f"'{hospital}' takes no part in this case; it is one of {', '.join(history.sides)}")
    side = history.sides[hospital]
    if side.state != "destroyed":
        raise NotFound(f"{hospital} has not destroyed its workspace: the permit is '{side.state}'")
    certificate, head = side.certificate, verified.head
    return {
        "format": FORMAT,
        "status": "TWO-SIDED" if side.share_destroyed else "ONE-SIDED",
        "witnessed": any(verified.cosigners.values()),
        "pinned": policy is not None,
        "complete": history.state == "closed",
        "log": head.origin,
        "case": history.case,
        "hospital": hospital,
        "permit": side.issued["permit"],
        "valid": [side.permit["valid_from"], side.permit["valid_until"]],
        "purpose": side.permit["purpose"],
        "legal_basis": certificate["legal_basis"],
        "manifest": side.opened,
        "ciphertext": side.manifest.get("ciphertext"),
        **{name: certificate[name] for name in ("objects", "bytes", "algorithm", "released", "not_covered")},
        "unprovable": certificate.get("unprovable", UNPROVABLE),
        "sides": {"hospital": _hospital_side(verified, hospital, side), "coordinator": _coordinator_side(verified, hospital, side)},
        "time": {"size": head.size, "root": head.root.hex(), "cosigners": _times(verified)},
    }


def _hospital_side(verified: Verified, hospital: str, side: Side) -> dict[str, Any]:
    certificate = side.certificate
    entry = next(entry for entry in verified.entries if (entry.event["type"], entry.event["author"]) == ("WorkspaceDestroyed", hospital))
    first = [{"what": "workspace", "removed": certificate["objects"], "residual": certificate.get("residual")}]  # in older logs
    return _side(entry, certificate) | {"purged": certificate.get("purged", first)}


def _coordinator_side(verified: Verified, hospital: str, side: Side) -> dict[str, Any] | None:
    """None until the coordinating body has signed; in older logs it signed that it did, without a certificate of how."""
    if not side.share_destroyed:
        return None
    signed = ("ShareCertified", "KeyShareDestroyed")
    entry = next(entry for entry in verified.entries if entry.event["type"] in signed and entry.event["hospital"] == hospital)
    return _side(entry, side.share_certificate)


def _side(entry: Entry, certificate: dict[str, Any]) -> dict[str, Any]:
    return {
        "signer": entry.event["author"],
        "fingerprint": verify.fingerprint(entry.signed["key"]),
        "method": certificate.get("method"),
        "attempts": certificate.get("attempts"),
        "failures": certificate.get("failures"),
        "backups": certificate.get("backups", []),
        "at": certificate.get("at", entry.event["at"]),
        "entry": entry.index,
        "certificate": entry.event.get("certificate"),
    }


def _times(verified: Verified) -> list[dict[str, str]]:
    """When each cosigner saw a log that holds all this, by its own clock."""
    lines = {(name, value[:4]): value for name, value in verified.head.lines}
    times = [(key.name, int.from_bytes(lines[(key.name, key.id)][4:12], "big")) for key in verified.cosigners]
    return [{"name": name, "at": _instant(time)} for name, time in sorted(times, key=lambda found: found[1])]


def _instant(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return "an instant that no calendar knows"


# --- for people ------------------------------------------------------------------------------------------------------


def remarks(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What a reader must know before anything else, in Korean and English; empty when nothing is missing."""
    sentences = [
        (
            found["status"] == "ONE-SIDED",
            ("한쪽만 서명함: 조정기관이 아직 서명하지 않았습니다.", "ONE-SIDED: the coordinating body has not signed yet."),
        ),
        (
            not found["witnessed"],
            ("증인 없음: 원장 자신만 서명했습니다.", "NOT WITNESSED: only the log itself has signed; a second history of it could exist."),
        ),
        (
            not found["complete"],
            ("종결되지 않은 과제입니다.", "NOT CLOSED: the case still runs; later events of it may be missing here."),
        ),
        (
            not found["pinned"],
            ("키가 고정되지 않음: 앞뒤는 맞지만 진본이라는 뜻은 아닙니다.", "KEYS NOT PINNED: consistent, not authentic; give a policy."),
        ),
    ]
    return [words for holds, words in sentences if holds]


def text(found: dict[str, Any]) -> str:
    """The certificate as lines for a terminal."""
    lines = [f"DELETION CERTIFICATE · 파기 확인서  [{found['status']}]", *(f"! {english}" for _, english in remarks(found)), ""]
    lines += [f"{english}: {'; '.join(_words(found, name)) or '-'}" for name, _, english in ROWS]
    for side, title in _sides(found):
        lines += ["", title, *(f"  {english}: {'; '.join(_side_words(side, name)) or '-'}" for name, _, english in SIDE_ROWS)]
    return "\n".join([*lines, "", *_time_words(found)]) + "\n"


def html(found: dict[str, Any]) -> str:
    """The certificate as one page that prints on paper, in Korean and English, without anything from elsewhere."""
    rows = "".join(_row(korean, english, _words(found, name)) for name, korean, english in ROWS)
    sides = "".join(
        f"<h2>{escape(title)}</h2><table>{''.join(_row(korean, english, _side_words(side, name)) for name, korean, english in SIDE_ROWS)}"
        "</table>"
        for side, title in _sides(found)
    )
    notes = "".join(f'<p class="remark"><strong>{escape(korean)}</strong><br>{escape(english)}</p>' for korean, english in remarks(found))
    status = {"TWO-SIDED": "양쪽이 서명함 · TWO-SIDED", "ONE-SIDED": "한쪽만 서명함 · ONE-SIDED"}[found["status"]]
    time = "".join(f"<li>{escape(line)}</li>" for line in _time_words(found))
    return (
        '<!doctype html><html lang="ko"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>파기 확인서 · {escape(found['hospital'])}</title><style>{STYLE}</style></head><body>"
        f'<h1>파기 확인서 <span lang="en">Certificate of deletion</span></h1><p class="status">{status}</p>{notes}'
        f"<table>{rows}</table>{sides}<h2>시각 · Time</h2><ul>{time}</ul>"
        "<p>사건 묶음으로 확인하십시오 · Check the case bundle: <code>pumasi verify BUNDLE --policy POLICY</code></p></body></html>\n"
    )


STYLE = (
    "body{font:11pt/1.5 system-ui,'Noto Sans KR',sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem;color:#111}"
    "h1{font-size:1.5rem}h1 span{font-weight:400;font-size:1rem}h2{font-size:1.1rem;margin-top:1.6rem}"
    "table{border-collapse:collapse;width:100%}th,td{border-bottom:1px solid #bbb;padding:.35rem .5rem;text-align:left;vertical-align:top}"
    "th{width:34%;font-weight:600}th small{display:block;font-weight:400;color:#444}td{overflow-wrap:anywhere}"
    ".status{font-size:1.2rem;font-weight:700}.remark{border:2px solid #b00;padding:.5rem .75rem}"
    "@media print{body{margin:0;max-width:none}tr,.remark{break-inside:avoid}}"
)


def _row(korean: str, english: str, values: list[str]) -> str:
    shown = "<br>".join(escape(value) for value in values) or "–"
    return f'<tr><th scope="row">{escape(korean)}<small lang="en">{escape(english)}</small></th><td>{shown}</td></tr>'


def _words(found: dict[str, Any], name: str) -> list[str]:
    value = found[name]
    if name == "valid":
        return [" – ".join(value)]
    return [str(item) for item in value] if isinstance(value, list) else [] if value is None else [str(value)]


def _sides(found: dict[str, Any]) -> list[tuple[dict[str, Any] | None, str]]:
    return [
        (found["sides"]["hospital"], "병원 쪽 · The hospital's side"),
        (found["sides"]["coordinator"], "조정기관 쪽 · The coordinating body's side"),
    ]


def _side_words(side: dict[str, Any] | None, name: str) -> list[str]:
    if side is None:
        return ["ONE-SIDED"] if name == "signer" else []
    match name:
        case "test":
            return [f"{side['failures']} of {side['attempts']}"] if side["attempts"] is not None else []
        case "purged":
            return [f"{purge['what']}: {purge['removed']} ({purge['residual']})" for purge in side.get("purged", [])]
        case "backups":
            return [f"{backup['what']}: {backup['until']}" for backup in side["backups"]]
        case _:
            return [str(side[name])] if side[name] is not None else []


def _time_words(found: dict[str, Any]) -> list[str]:
    time = found["time"]
    return [
        f"{found['log']}: checkpoint over {time['size']} entries, root {time['root']}",
        *(f"cosigned by {unquote(cosigner['name'])} at {cosigner['at']}" for cosigner in time["cosigners"]),
    ]
