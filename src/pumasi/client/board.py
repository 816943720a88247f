"""What people decide: votes that stay blind until the quorum, an ethics decision, a steward's signature, a review of an output."""

from __future__ import annotations

from typing import Any

from pumasi.client.home import Home
from pumasi.kernel import event as ev
from pumasi.kernel.codes import Decision, IrbDecision
from pumasi.kernel.envelope import commit, new_salt
from pumasi.kernel.errors import Refused
from pumasi.kernel.study import Application, ColumnRule, TreatedColumnRule
from pumasi.store.document import Document


def inbox(home: Home) -> list[dict[str, Any]]:
    """What waits for this person. Votes whose quorum is reached are opened on the way: that is no decision any more."""
    items = home.channel.get("/inbox").json()
    for item in items:
        if item["do"] == "open":
            open_vote(home, item)
    return [item for item in items if item["do"] != "open"]


def application(home: Home, commitment: str) -> Application:
    """What the researcher asks for, checked against the commitment in the log."""
    return Application.read(Document.read(home.channel.get(f"/documents/{commitment}").content, commitment).body)


def asked(application: Application) -> list[str]:
    """The columns that a study asks for and the form it wants them in, a line for each table."""
    lines = []
    for name, table in application.tables.items():
        columns = [
            f"{column} ({rule.is_}{', ' + form if (form := _form(rule)) else ''})"
            for column, rule in table.columns.items()
            if rule.is_ != "identifier" and column != table.person
        ]
        lines.append(f"{name}: {', '.join(columns)}")
    return lines


def _form(rule: ColumnRule | TreatedColumnRule) -> str:
    if isinstance(rule, TreatedColumnRule):
        return f"treated {rule.treat}"
    return f"only the {rule.keep}" if rule.keep else ""


def _find(home: Home, case: str, do: str, job: str | None = None) -> dict[str, Any]:
    for item in inbox(home):
        if item["case"] == case and item["do"] == do and (job is None or item.get("job") == job):
            return item
    raise Refused(f"nothing waits for {home.id} to {do} on in case {case[:8]}…; `pumasi inbox` shows what does")


def vote(home: Home, case: str, *, decision: Decision, reason: str = "", smallest_cell: int | None = None) -> None:
    """A data review board member's vote. The log gets a commitment; nobody learns the vote before the quorum has voted."""
    item = _find(home, case, "vote")
    if item["board"] == "irb":
        raise Refused("this case waits for the ethics board's decision; give one of --approve, --exempt or --reject as the board's officer")
    _commit_vote(home, item, subject=item["application"], decision=decision, reason=reason, smallest_cell=smallest_cell)


def decide(home: Home, case: str, *, decision: IrbDecision, reason: str = "") -> None:
    """The ethics board's decision."""
    item = next((item for item in inbox(home) if item["case"] == case and item.get("board") == "irb"), None)
    if item is None:
        raise Refused(f"no ethics decision of {home.id} is awaited in case {case[:8]}…")
    words = Document.new(reason)
    home.secret(words.commitment, {"salt": words.salt, "body": words.body})
    home.record(ev.IrbDecided, case=case, application=item["application"], decision=decision, reason=words.commitment)


def sign(home: Home, case: str) -> None:
    """The steward's signature: the hospital's node may now sign the permit."""
    item = _find(home, case, "sign")
    home.record(ev.PermitAuthorised, case=case, application=item["application"])


def revoke(home: Home, case: str) -> None:
    """The steward ends the hospital's permit at once; its workspace is destroyed."""
    hospital = home.id.partition("@")[2]
    home.record(ev.PermitEnded, case=case, hospital=hospital, reason="revoked")


def ask_reversal(home: Home, case: str) -> None:
    """The steward wants the pending deletion at the own hospital reversed; alone that changes nothing."""
    home.record(ev.ReversalAsked, case=case)


def review(home: Home, case: str, job: str, *, output: str, decision: Decision, reason: str = "") -> None:
    """An output checker's vote on the very bytes with this digest, as the checker read them at the hospital's node."""
    item = _find(home, case, "review", job)
    if item["output"] != output:
        raise Refused("the output you read is not the one under review; read it again")
    _commit_vote(home, item, subject=output, decision=decision, reason=reason, smallest_cell=None)


def _commit_vote(home: Home, item: dict[str, Any], *, subject: str, decision: Decision, reason: str, smallest_cell: int | None) -> None:
    words = Document.new(reason)
    body = {"decision": decision, "reason": words.commitment, "smallest_cell": smallest_cell}
    salt = new_salt()
    committed = commit(salt, body)
    home.secret(committed, {"salt": salt, **body, "words": {"salt": words.salt, "body": words.body}})
    home.record(ev.VoteCommitted, case=item["case"], board=item["board"], job=item.get("job"), subject=subject, vote=committed)


def open_vote(home: Home, item: dict[str, Any]) -> None:
    """Show the vote that was committed to, now that the quorum has voted."""
    kept = home.kept_secret(item["vote"])
    opened = {key: kept[key] for key in ("salt", "decision", "reason", "smallest_cell")}
    home.record(ev.VoteOpened, case=item["case"], board=item["board"], job=item.get("job"), **opened)
