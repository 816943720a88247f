"""Signing a handover is strict, following what the quorum has signed is not, and nothing that shows two stories is lost on the way."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pumasi.hub import cli as hub_cli
from pumasi.hub import takeover
from pumasi.kernel import event as ev
from pumasi.kernel.envelope import Keys, b64, canonical, parse_canonical, sha256
from pumasi.kernel.errors import Invalid, Refused, Tampered
from pumasi.kernel.event import CONSORTIUM, Entry
from pumasi.kernel.handover import SIGNED
from pumasi.ledger import evidence, note
from pumasi.ledger.handover import Handover, Signature, Statement, der, told
from pumasi.node import handover as node_handover
from pumasi.node.app import Node
from pumasi.store import handover as crossing
from pumasi.store.db import open_db
from pumasi.store.site import RESTORED, Site
from pumasi.store.tiles import write_copy
from tests.casebook import COORDINATOR, HOSPITALS, ORIGIN, Casebook, play
from tests.live_hub import Clock, LiveHub, Server, party

FIRST, SECOND = list(HOSPITALS)[:2]
PEM = hub_cli._certificate("127.0.0.1")[0].decode()
PLACE = "https://127.0.0.1:9"


def paper(book: Casebook, *, signers: list[str] | None = None, complete: bool = True, start: int = 40, **changes: Any) -> Handover:
    """The handover of a log as this book holds it."""
    new, fields = book.handover(signers=signers, **{"certificate": sha256(der(PEM)), "place": PLACE} | changes)
    event = book.entry(ev.LogHandedOver, COORDINATOR, keys=new, **fields)
    statement = Statement.read({name: fields.get(name, COORDINATOR) for name in SIGNED})
    return Handover(
        statement=statement, checkpoint=book.checkpoint(cosigners=[]), certificate=PEM, start=start,
        entries=[b64(data) for data in book.log[start:]], event=b64(event.data) if complete else None,
    )  # fmt: skip


def longer(book: Casebook, *, by: str = FIRST) -> Casebook:
    """The same log with one more entry, which its author's copy alone has."""
    other = book.copy()
    other.say(ev.DatasetDescribed, by, case=CONSORTIUM, dataset=sha256(by.encode()))
    return other


@pytest.fixture
def book() -> Casebook:
    return play(until="opened")


def copy_of(book: Casebook, folder: Path, *, size: int | None = None, checkpoint: str | None = None) -> Site:
    short = book.copy()
    short.log = short.log[:size]
    site = party(folder, short, FIRST, clock=Clock(), file="copy.db")
    if checkpoint is not None:
        site.save_checkpoint(note.parse_checkpoint(checkpoint).size, checkpoint)
    return site


# --- following ---


def test_a_copy_that_lags_behind_follows(book: Casebook, tmp_path: Path) -> None:
    site = copy_of(book, tmp_path, size=len(book.log) - 7, checkpoint=book.checkpoint(len(book.log) - 9))
    handover = Handover.parse(paper(book).data)
    assert crossing.step_over(site, handover) == []
    assert site.tree.size == len(book.log) - 7
    assert not any(site.extend([*book.log, handover.entry().data]))
    assert site.world.log_at(len(book.log) + 1).origin == handover.statement.origin
    assert crossing.step_over(site, handover) == [], "it may be done again"
    assert site.tree.size == len(book.log) + 1


def test_a_copy_too_short_for_the_file_says_so(book: Casebook, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="ends after 30 entries, and the file brings those from 40 on"):
        crossing.step_over(copy_of(book, tmp_path, size=30), paper(book))


def test_what_only_the_old_hub_had_taken_is_said_again(book: Casebook, tmp_path: Path) -> None:
    more = longer(book)
    site = copy_of(more, tmp_path)
    assert site.unsent() == []
    assert crossing.step_over(site, paper(book)) == []
    assert site.tree.size == len(book.log)
    assert [data for _, data in site.unsent()] == more.log[-1:]
    handover = paper(book)
    assert not any(site.extend([handover.entry().data, more.log[-1]]))


def test_a_head_by_the_old_key_beyond_the_handover_is_evidence(book: Casebook, tmp_path: Path) -> None:
    more = longer(book)
    site = copy_of(more, tmp_path, checkpoint=more.checkpoint(cosigners=[]))
    (found,) = crossing.step_over(site, paper(book))
    told = evidence.check(found)
    assert told[0].startswith(f"PROVEN: the key of the log {ORIGIN} has signed a head over {len(more.log)} entries")
    assert site.checkpoint() is None
    with pytest.raises(Tampered):
        evidence.check(found.replace(b'"head":"log.pumasi', b'"head":"log.bumasi'))
    assert evidence.beyond(paper(book).entry(), book.checkpoint(cosigners=[])) is None
    book.hand_over()
    assert evidence.beyond(paper(play(until="opened")).entry(), book.checkpoint(cosigners=[])) is None, "this one is by the new key"


def test_a_copy_that_was_told_another_story_keeps_the_proof_and_follows(book: Casebook, tmp_path: Path) -> None:
    mine, theirs = longer(book, by=FIRST), longer(book, by=SECOND)
    site = copy_of(mine, tmp_path, checkpoint=mine.checkpoint(cosigners=[]))
    handover = paper(theirs)
    (found,) = crossing.step_over(site, handover)
    assert "two heads over" in evidence.check(found)[0]
    assert site.tree.size == len(book.log)
    assert not any(site.extend([*handover.tail(), handover.entry().data]))
    assert [data for _, data in site.unsent()] == mine.log[-1:]


def test_too_few_signatures_move_nobody(book: Casebook, tmp_path: Path) -> None:
    more = longer(book)
    site = copy_of(more, tmp_path, checkpoint=more.checkpoint())
    with pytest.raises(Refused, match="3 of 5 that cosign have signed the handover; it takes 4"):
        crossing.step_over(site, paper(book, signers=list(HOSPITALS)[:3]))
    assert (site.tree.size, site.unsent()) == (len(more.log), [])


def test_entries_that_lead_elsewhere_move_nobody(book: Casebook, tmp_path: Path) -> None:
    site, handover = copy_of(book, tmp_path), paper(book, root="ab" * 32)
    with pytest.raises(Tampered, match="not about the history"):
        crossing.step_over(site, handover)
    other = paper(longer(book, by=SECOND))
    changed = other.model_copy(update={"entries": [*other.entries[:-1], b64(longer(book).log[-1])]})
    with pytest.raises(Tampered, match="not about the history"):
        crossing.step_over(site, changed)


def test_a_copy_takes_no_handover_of_another_history_from_its_hub(book: Casebook, tmp_path: Path) -> None:
    site = copy_of(book, tmp_path)
    assert site.extend([paper(book, root="ab" * 32).entry().data]) == [
        ["the log was handed over with another history than the one in front of the handover"]
    ]
    assert site.tree.size == len(book.log)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"certificate": hub_cli._certificate("localhost")[0].decode()}, "certificate in this file is not the one"),
        ({"certificate": "none"}, "not one certificate in PEM"),
        ({"start": 41}, "do not end where the handover begins"),
    ],
)
def test_a_file_whose_parts_do_not_fit_is_none(book: Casebook, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        Handover.parse(paper(book).model_copy(update=changes).data)
    other = paper(book, place="https://elsewhere.example").event
    with pytest.raises(Invalid, match="another handover's"):
        Handover.parse(paper(book).model_copy(update={"event": other}).data)


# --- signing ---


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@pytest.fixture
def node(book: Casebook, tmp_path: Path, server: Server) -> Any:
    live = LiveHub(tmp_path, book, server)
    node = live.node(FIRST)
    node.site.save_checkpoint(len(book.log), book.checkpoint(cosigners=[]))
    yield node
    live.close()


def test_a_node_signs_once(book: Casebook, node: Node) -> None:
    proposal = paper(book, complete=False)
    signed = node_handover.sign(node, proposal)
    again = Signature.parse(node_handover.sign(node, proposal).data)
    assert (again.signature, again.member, again.handover) == (signed.signature, FIRST, proposal.statement.digest)
    rival = paper(book, complete=False, place="https://rival.example", box=book.keys_of(SECOND).box_public)
    with pytest.raises(Refused, match="has signed another handover"):
        node_handover.sign(node, rival)
    node_handover.withdraw(node)
    assert node_handover.sign(node, rival).handover == rival.statement.digest


def test_a_node_signs_nothing_that_takes_back_what_it_has_vouched_for(book: Casebook, node: Node) -> None:
    proposal, more = paper(book, complete=False), longer(book, by=SECOND)
    assert not any(node.site.extend(more.log))
    assert node_handover.sign(node, proposal).member == FIRST, "entries that no head covers may go"
    node_handover.withdraw(node)
    node.site.save_checkpoint(len(more.log), more.checkpoint(cosigners=[]))
    with pytest.raises(Refused, match=f"has vouched for {len(more.log)} entries"):
        node_handover.sign(node, proposal)
    with pytest.raises(Refused, match="has vouched for another history"):
        node_handover.sign(node, paper(longer(longer(book, by=FIRST), by=FIRST), complete=False))


def test_a_node_signs_neither_after_a_restore_nor_with_a_key_that_does_not_cosign(book: Casebook, node: Node) -> None:
    node.site.note(RESTORED, b'{"checkpoint":null,"made_at":"2026-03-02T00:00:00Z","restored_at":"2026-03-02T00:00:00Z","size":1}')
    with pytest.raises(Refused, match="restored from a backup"):
        node_handover.sign(node, paper(book, complete=False))
    node.site.forget(RESTORED)
    book.rotate(FIRST)
    assert not any(node.site.extend(book.log))
    with pytest.raises(Refused, match="does not cosign this log with the key that is here"):
        node_handover.sign(node, paper(book, complete=False))
    unsigned = paper(book, complete=False).model_copy(
        update={"checkpoint": note.sign_checkpoint(ORIGIN, size=1, root=bytes(32), key=node.cosigner)}
    )
    with pytest.raises(Tampered):
        node_handover.sign(node, unsigned)


def test_a_node_that_was_brought_the_file_goes_over_and_may_be_killed_on_the_way(book: Casebook, node: Node) -> None:
    crossed: list[int] = []
    serving = node_handover.Crossing(node, lambda: crossed.append(1))
    assert serving.step() is False and crossed == []
    with pytest.raises(Refused, match="this is a proposal"):
        node_handover.bring(node, paper(book, complete=False))
    settings = (node.home / "node.toml").read_text(encoding="utf-8")
    file = paper(book)
    for time in (1, 2):  # the second time as after a crash right before the last step
        node_handover.bring(node, file)
        assert serving.step() is False and len(crossed) == time
        assert (node.home / "hub.crt").read_text() == PEM
        changed = (node.home / "node.toml").read_text(encoding="utf-8")
        assert f'hub = "{PLACE}"' in changed
        assert [line for line in changed.splitlines() if not line.startswith("hub =")] == [
            line for line in settings.splitlines() if not line.startswith("hub =")
        ]
        assert not (node.home / "handover.json").exists()
    assert node_handover.SIGNED and node.site.noted(node_handover.SIGNED) is None


def test_a_file_that_is_no_handover_of_this_log_is_put_aside(book: Casebook, node: Node) -> None:
    (node.home / "handover.json").write_bytes(paper(book, signers=[FIRST]).data)
    serving = node_handover.Crossing(node, lambda: None)
    with pytest.raises(Refused, match="1 of 5 that cosign"):
        serving.step()
    assert serving.step() is False
    assert (node.home / "handover.refused.json").is_file()


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ('hub = "a"  # why\n[custody]\nhub = "b"\n', 'hub = "X"  # why\n[custody]\nhub = "b"\n'),
        ("name = 'hub'\nhub='a'\n", "name = 'hub'\nhub=\"X\"\n"),
        ("[custody]\nhub = 'a'\n", None),
        ('hub = """a"""\n', None),
    ],
)
def test_one_line_of_the_settings_changes(tmp_path: Path, text: str, changed: str | None) -> None:
    path = tmp_path / "node.toml"
    path.write_text(text)
    if changed is None:
        with pytest.raises(Invalid, match="must have one line hub"):
            node_handover.name_hub(path, "X")
    else:
        node_handover.name_hub(path, "X")
    assert path.read_text() == (changed or text)


# --- taking over ---


@pytest.fixture
def successor(book: Casebook, tmp_path: Path) -> Path:
    """A new hub's folder with a proposal in it."""
    home = tmp_path / "successor"
    hub_cli.init(home, name="successor", origin="log.pumasi.example/second", host="127.0.0.1", port=9)
    write_copy(tmp_path / "mirror", lambda start, stop: book.log[start:stop], book.checkpoint())
    takeover.propose(home, tmp_path / "mirror")
    return home


def yes(book: Casebook, home: Path, *members: str) -> list[Signature]:
    proposal = Handover.parse((home / takeover.FILE).read_bytes())
    said = proposal.statement
    return [
        Signature(
            handover=said.digest, member=name, key=book.public(book.cosigners[name]),
            signature=node_handover.detached("handover", said.plain(), book.cosigners[name]),
            cosignature=note.cosign(proposal.checkpoint, note.cosigner_name(ORIGIN, name), key=book.cosigners[name], time=1),
        )
        for name in members
    ]  # fmt: skip


def test_the_signatures_of_a_quorum_make_a_log_the_successors(book: Casebook, successor: Path) -> None:
    four = yes(book, successor, *list(HOSPITALS)[:4])
    with pytest.raises(Refused, match="3 of 5 that cosign have signed the handover; it takes 4"):
        takeover.take_over(successor, four[:3])
    complete = takeover.take_over(successor, four)
    assert Handover.parse(complete.data).entry().event.author == "successor"
    old = note.parse_checkpoint(complete.checkpoint)
    cosigners = [note.cosigner_vkey(ORIGIN, name, book.public(key)) for name, key in book.cosigners.items()]
    assert len(note.check(old, log=note.log_vkey(ORIGIN, book.public(book.log_key)), cosigners=cosigners).cosigners) == 5
    (successor / takeover.FILE).write_bytes(complete.model_copy(update={"event": None}).data)  # killed before the last step
    assert takeover.take_over(successor, []).event == complete.event
    with pytest.raises(Invalid, match="has a log of its own already"):
        takeover.propose(successor, successor)


def test_what_was_recorded_before_a_crash_is_logged_by_the_next_try(book: Casebook, successor: Path, tmp_path: Path) -> None:
    four = yes(book, successor, *list(HOSPITALS)[:4])
    shutil.copytree(successor, tmp_path / "killed")
    event = takeover.take_over(successor, four).entry().event
    keys = Keys.from_text((successor / "keys" / "coordinator.key").read_text())
    killed = Site(open_db(tmp_path / "killed" / "hub.db"), id="successor", keys=keys)
    fields = ev.body_of(event)
    own = {name: fields[name] for name in fields if name not in ("type", "case", "author", "seq", "prev", "at")}
    killed.record(ev.LogHandedOver, case=CONSORTIUM, **own)
    assert takeover.take_over(tmp_path / "killed", []).entry().event == event.model_copy(update={"at": killed.own(CONSORTIUM)[0].event.at})


def test_signatures_that_do_not_count_are_named(book: Casebook, successor: Path) -> None:
    one, two, three, four = yes(book, successor, *list(HOSPITALS)[:4])
    bad = [
        one.model_copy(update={"handover": "ab" * 32}),
        two.model_copy(update={"key": one.key}),
        three.model_copy(update={"signature": one.signature}),
        four.model_copy(update={"cosignature": one.cosignature}),
    ]
    with pytest.raises(Refused) as refused:
        takeover.take_over(successor, bad)
    names = list(HOSPITALS)
    assert refused.value.reasons == [
        f"'{names[0]}' has signed another proposal than the one in this folder",
        f"'{names[1]}' does not cosign this log with the key in its signature",
        f"the signature of '{names[2]}' does not hold",
        f"the signature of '{names[3]}' does not hold",
    ]


def test_a_policy_of_the_successor_asks_for_its_own_quorum(book: Casebook, successor: Path) -> None:
    (successor / "policy.txt").write_text(book.policy(quorum=5), encoding="utf-8")
    settings = (successor / "hub.toml").read_text(encoding="utf-8")
    (successor / "hub.toml").write_text(settings.replace('policy = "two-thirds"', 'policy = "policy.txt"'), encoding="utf-8")
    with pytest.raises(Refused, match="do not reach the quorum of the policy"):
        takeover.take_over(successor, yes(book, successor, *list(HOSPITALS)[:4]))
    assert takeover.take_over(successor, yes(book, successor, *HOSPITALS)).event is not None


def test_a_copy_with_an_entry_that_the_rules_refuse_is_not_taken_over(book: Casebook, tmp_path: Path) -> None:
    assert book.force(ev.MemberAdmitted, SECOND, case=CONSORTIUM, member=SECOND)
    write_copy(tmp_path / "mirror", lambda start, stop: book.log[start:stop], book.checkpoint())
    hub_cli.init(tmp_path / "hub", name="successor", origin="log.pumasi.example/second", host="127.0.0.1", port=9)
    with pytest.raises(Tampered, match="an entry that the rules refuse"):
        takeover.propose(tmp_path / "hub", tmp_path / "mirror")
    assert Entry(book.log[-1]).event.author == SECOND


# --- what people read, and what is no evidence


def test_a_person_is_told_what_a_handover_means(book: Casebook) -> None:
    proposed, complete = paper(book, complete=False), paper(book)
    lines = "\n".join(told(proposed, cosigners=5))
    assert f"after {len(book.log)} entries" in lines and PLACE in lines and "It takes 4 of the 5 that cosign." in lines
    assert "Signed by" not in lines and "It takes" not in "\n".join(told(proposed))
    assert all(name in told(complete)[-1] for name in HOSPITALS)


@pytest.mark.parametrize("pem", ["", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----", PEM + PEM, PEM.replace("M", "*", 1)])
def test_anything_but_one_certificate_is_refused(pem: str) -> None:
    with pytest.raises(Invalid, match="not one certificate"):
        der(pem)


@pytest.fixture
def beyond(book: Casebook) -> dict[str, Any]:
    """Evidence of a head by the old key beyond a handover."""
    more = longer(book)
    found = evidence.beyond(paper(book).entry(), more.checkpoint(cosigners=[]))
    assert found is not None
    value: dict[str, Any] = parse_canonical(found)
    return value


def test_a_head_within_the_handover_or_a_field_too_many_is_no_evidence(book: Casebook, beyond: dict[str, Any]) -> None:
    assert evidence.check(canonical(beyond))
    with pytest.raises(Tampered, match="not beyond"):
        evidence.check(canonical(beyond | {"head": book.checkpoint(cosigners=[])}))
    with pytest.raises(Tampered, match="was changed"):
        evidence.check(canonical(beyond | {"more": ""}))


def test_a_handover_that_was_not_signed_accuses_nobody(book: Casebook, beyond: dict[str, Any]) -> None:
    new, fields = book.handover(certificate=sha256(der(PEM)), place=PLACE)
    swapped = [one | {"signature": fields["signatures"][at - 1]["signature"]} for at, one in enumerate(fields["signatures"])]
    entry = book.entry(ev.LogHandedOver, COORDINATOR, keys=new, **fields | {"signatures": swapped})
    with pytest.raises(Tampered, match="does not hold"):
        evidence.check(canonical(beyond | {"handover": b64(entry.data)}))
