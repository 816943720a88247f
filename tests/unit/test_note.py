"""Signed heads in the formats of C2SP: what is written, what is read, and everything that is refused."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pumasi.kernel.errors import Invalid, Tampered
from pumasi.ledger import verify as auditor
from pumasi.ledger.note import (
    COSIGNER,
    LOG,
    Policy,
    SignatureLine,
    VKey,
    add_cosignature,
    check,
    cosign,
    cosigner_name,
    cosigner_vkey,
    log_vkey,
    parse_checkpoint,
    policy_text,
    sign_checkpoint,
)
from pumasi.ledger.proof import TlogProof, tlog_proof, verify_tlog_proof
from pumasi.ledger.tree import Tree, leaf_hash

ORIGIN = "log.pumasi.example/study"
NAMES = ["바다 병원", "hill", "river", "lake"]
# tlog-cosignature's example: a checkpoint of example.com/behind-the-sofa with the signatures of its log and one witness.
PUBLISHED = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""


def secret(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(leaf_hash(name.encode()))


def public(key: Ed25519PrivateKey) -> str:
    return b64encode(key.public_key().public_bytes_raw()).decode()


LOG_KEY = secret("log")
TREE = Tree()
for _number in range(9):
    TREE.append(leaf_hash(bytes([_number])))
VKEY = log_vkey(ORIGIN, public(LOG_KEY))
COSIGNERS = [cosigner_vkey(ORIGIN, name, public(secret(name))) for name in NAMES]
NOTE = sign_checkpoint(ORIGIN, size=TREE.size, root=TREE.root(), key=LOG_KEY)


def cosigned(*names: str, note: str = NOTE, time: int = 1_700_000_000) -> str:
    for name in names:
        note = add_cosignature(note, cosign(note, cosigner_name(ORIGIN, name), key=secret(name), time=time))
    return note


# --- verifier keys ---


def test_a_verifier_key_reads_back_and_has_the_key_id_of_the_specification() -> None:
    for vkey in (VKEY, *COSIGNERS):
        assert VKey.parse(str(vkey)) == vkey
    # the Go reference implementation's documented key (golang.org/x/mod/sumdb/note)
    go = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    assert VKey.parse(go).key_id.hex() == "c74f20a3"
    assert str(VKey.parse(go)) == go


def test_the_reference_implementations_note_verifies() -> None:
    vkey = VKey.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    line = SignatureLine.parse(
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    assert line.is_by(vkey)
    assert line.holds(vkey, text)
    assert not line.holds(vkey, text.upper())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+",
        str(VKEY).replace("+", "-"),
        str(VKEY)[:-4],
        str(VKEY) + "AAAA",
        str(VKEY).replace(VKEY.key_id.hex(), "00000000"),
        str(VKEY).replace(VKEY.key_id.hex(), VKEY.key_id.hex().upper()),
        "a b+" + str(VKEY).partition("+")[2],
        "+" + str(VKEY).partition("+")[2],
        f"{ORIGIN}+00000000+{b64encode(bytes([7]) + VKEY.public).decode()}",
    ],
)
def test_other_verifier_keys_are_invalid(text: str) -> None:
    with pytest.raises(Invalid):
        VKey.parse(text)


def test_a_cosigner_is_named_below_the_log() -> None:
    assert cosigner_name("log.example/a", "바다 병원/+") == "log.example/a/%EB%B0%94%EB%8B%A4%20%EB%B3%91%EC%9B%90%2F%2B"


# --- checkpoints ---


def test_a_signed_checkpoint_reads_back_to_the_byte() -> None:
    note = cosigned(*NAMES)
    checkpoint = parse_checkpoint(note)
    assert (checkpoint.origin, checkpoint.size, checkpoint.root) == (ORIGIN, TREE.size, TREE.root())
    assert str(checkpoint) == note
    assert auditor.read_checkpoint(note).size == TREE.size


def test_the_published_example_reads() -> None:
    checkpoint = parse_checkpoint(PUBLISHED)
    assert checkpoint.size == 20852163
    assert checkpoint.lines[1].time == 1679315147
    assert str(checkpoint) == PUBLISHED


BODY, _, LINES = NOTE.partition("\n\n")
FORMS = {
    "empty": "",
    "no signature": f"{BODY}\n\n",
    "no empty line": f"{BODY}\n{LINES}",
    "no last newline": NOTE[:-1],
    "two empty lines below": NOTE + "\n",
    "an extension line": f"{BODY}\nextension\n\n{LINES}",
    "an empty origin": NOTE[len(ORIGIN) :],
    "only an origin": f"{ORIGIN}\n\n{LINES}",
    "a size with a zero": NOTE.replace("\n9\n", "\n09\n"),
    "a negative size": NOTE.replace("\n9\n", "\n-9\n"),
    "a size in other digits": NOTE.replace("\n9\n", "\n９\n"),
    "a size with a space": NOTE.replace("\n9\n", "\n 9\n"),
    "an endless size": NOTE.replace("\n9\n", f"\n{'9' * 5000}\n"),
    "a short root": NOTE.replace(BODY.split("\n")[2], "AAAA"),
    "a root that is not base64": NOTE.replace(BODY.split("\n")[2], "?" * 44),
    "a control character": NOTE.replace(ORIGIN, ORIGIN + "\r", 1),
    "half a character": NOTE.replace(ORIGIN, ORIGIN + "\ud800", 1),
    "half a character in a name": NOTE.replace("— ", "— \ud800"),
    "a hyphen instead of a dash": NOTE.replace("—", "-"),
    "a name with a plus": NOTE.replace("— ", "— a+b"),
    "no name": NOTE.replace(f"— {ORIGIN}", "— "),
    "a third word": NOTE[:-1] + " more\n",
    "a short signature": f"{BODY}\n\n— {ORIGIN} AAAAAA==\n",
    "signature not base64": f"{BODY}\n\n— {ORIGIN} ????\n",
    "loose base64": f"{BODY}\n\n— {ORIGIN} AAAAAAB=\n",
    "a blank among the signatures": f"{NOTE}\n{LINES}",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_of_another_form_is_tampered(form: str) -> None:
    with pytest.raises(Tampered):
        parse_checkpoint(FORMS[form])


def test_signing_refuses_what_could_not_be_read() -> None:
    with pytest.raises(Invalid):
        sign_checkpoint("an origin with spaces", size=1, root=TREE.root(), key=LOG_KEY)
    with pytest.raises(Tampered):
        sign_checkpoint(ORIGIN, size=-1, root=TREE.root(), key=LOG_KEY)
    with pytest.raises(Tampered):
        sign_checkpoint(ORIGIN, size=1, root=b"short", key=LOG_KEY)
    for time in (-1, 1 << 63):
        with pytest.raises(Invalid, match="POSIX"):
            cosign(NOTE, "w", key=LOG_KEY, time=time)


def test_the_log_and_every_known_cosigner_are_checked() -> None:
    checkpoint = parse_checkpoint(cosigned("hill", "바다 병원"))
    witnessed = check(checkpoint, log=VKEY, cosigners=COSIGNERS)
    assert witnessed.cosigners == {COSIGNERS[1]: 1_700_000_000, COSIGNERS[0]: 1_700_000_000}
    assert witnessed.unknown == []


def test_an_unknown_line_is_named_and_counts_for_nothing() -> None:
    witnessed = check(parse_checkpoint(cosigned("hill", "stranger")), log=VKEY, cosigners=COSIGNERS)
    assert [vkey.name for vkey in witnessed.cosigners] == [cosigner_name(ORIGIN, "hill")]
    assert witnessed.unknown == [cosigner_name(ORIGIN, "stranger")]


def test_a_cosigner_signs_a_time_and_cannot_lend_its_line_to_another_head() -> None:
    line = SignatureLine.parse(cosign(NOTE, COSIGNERS[1].name, key=secret("hill"), time=1_700_000_000))
    assert line.time == 1_700_000_000
    assert line.holds(COSIGNERS[1], parse_checkpoint(NOTE).body)
    later = replace(line, signature=(line.time + 1).to_bytes(8, "big") + line.signature[8:])
    beyond = replace(line, signature=b"\xff" * 8 + line.signature[8:])
    for forged in (later, beyond, replace(line, signature=b"\x00")):
        assert not forged.holds(COSIGNERS[1], parse_checkpoint(NOTE).body)
    other = sign_checkpoint(ORIGIN, size=8, root=TREE.root(8), key=LOG_KEY)
    with pytest.raises(Tampered, match="does not hold"):
        check(parse_checkpoint(add_cosignature(other, str(line))), log=VKEY, cosigners=COSIGNERS)


def test_a_weak_key_signs_nothing() -> None:
    """Under the neutral point everybody can sign everything, and plain RFC 8032 lets it pass."""
    weak = VKey(cosigner_name(ORIGIN, "weak"), COSIGNER, (1).to_bytes(32, "little"))
    forged = SignatureLine(weak.name, weak.key_id, (0).to_bytes(8, "big") + (1).to_bytes(32, "little") + bytes(32))
    assert not forged.holds(weak, parse_checkpoint(NOTE).body)


def test_the_logs_own_signature_is_needed_under_its_own_name() -> None:
    checkpoint = parse_checkpoint(cosigned("hill"))
    only_cosigned = replace(checkpoint, lines=checkpoint.lines[1:])
    with pytest.raises(Tampered, match="not signed by the log"):
        check(only_cosigned, log=VKEY, cosigners=COSIGNERS)
    elsewhere = sign_checkpoint("other.example", size=9, root=TREE.root(), key=LOG_KEY)
    renamed = elsewhere.replace("— other.example ", f"— {ORIGIN} ")
    line = SignatureLine(ORIGIN, VKEY.key_id, LOG_KEY.sign(parse_checkpoint(elsewhere).body.encode()))
    with pytest.raises(Tampered):
        check(parse_checkpoint(renamed), log=VKEY, cosigners=[])
    with pytest.raises(Tampered, match="not signed by the log"):
        check(replace(parse_checkpoint(elsewhere), lines=(line,)), log=VKEY, cosigners=[])


def test_one_key_signs_once() -> None:
    note = cosigned("hill")
    with pytest.raises(Tampered, match="already"):
        cosigned("hill", note=note, time=1)
    twice = replace(parse_checkpoint(note), lines=parse_checkpoint(note).lines + parse_checkpoint(note).lines[1:])
    with pytest.raises(Tampered, match="twice"):
        check(twice, log=VKEY, cosigners=COSIGNERS)
    # the Ed25519 cosignature does not bind the cosigner's name, so the same key under two names is still one
    alias = VKey(cosigner_name(ORIGIN, "alias"), COSIGNER, COSIGNERS[1].public)
    both = add_cosignature(note, cosign(note, alias.name, key=secret("hill"), time=1))
    with pytest.raises(Tampered, match="twice"):
        check(parse_checkpoint(both), log=VKEY, cosigners=[*COSIGNERS, alias])


# --- policies ---

KEYS = {name: str(vkey) for name, vkey in zip("abcd", COSIGNERS, strict=True)}
HEADER = f"# 정책\n\n \tlog {VKEY} https://log.example\n" + "".join(f"witness {name}  {vkey}\n" for name, vkey in KEYS.items())


@pytest.mark.parametrize(
    ("rules", "signers", "accepted"),
    [
        ("quorum none", [], True),
        ("quorum a", [0], True),
        ("quorum a", [1, 2, 3], False),
        ("group g 2 a b c\nquorum g", [0, 2], True),
        ("group g 2 a b c\nquorum g", [0, 3], False),
        ("group g any a b\nquorum g", [1], True),
        ("group g any a b\nquorum g", [2, 3], False),
        ("group g all a b\nquorum g", [0, 1], True),
        ("group g all a b\nquorum g", [0], False),
        ("group g 2 a b c\ngroup h all g d\nquorum h", [0, 1, 3], True),
        ("group g 2 a b c\ngroup h all g d\nquorum h", [0, 1, 2], False),
        ("group g 1 a\nquorum b", [1], True),
    ],
)
def test_a_policy_counts_as_the_specification_says(rules: str, signers: list[int], accepted: bool) -> None:
    note = cosigned(*(NAMES[number] for number in signers))
    policy = Policy.parse(f"{HEADER}{rules}\n")
    assert (policy.satisfied(note) == []) is accepted
    read = auditor.read_policy(f"{HEADER}{rules}\n".encode())
    signed = {auditor.NoteKey(COSIGNERS[number].name, COSIGNER, COSIGNERS[number].public) for number in signers}
    assert read.reached(read.quorum[0], signed) is accepted


BAD_POLICIES = {
    "nothing": "",
    "no quorum": HEADER,
    "cut off": f"{HEADER}quorum a",
    "two quorums": f"{HEADER}quorum a\nquorum b\n",
    "unknown quorum": f"{HEADER}quorum nobody\n",
    "quorum before its group": f"{HEADER}quorum g\ngroup g any a\n",
    "two names in a quorum": f"{HEADER}quorum a b\n",
    "a group of itself": f"{HEADER}group g any g\nquorum g\n",
    "an empty group": f"{HEADER}group g any\nquorum g\n",
    "a member twice": f"{HEADER}group g 2 a a\nquorum g\n",
    "a member of two groups": f"{HEADER}group g any a\ngroup h any a\nquorum h\n",
    "none in a group": f"{HEADER}group g any none\nquorum g\n",
    "a group called none": f"{HEADER}group none any a\nquorum none\n",
    "a witness called none": f"witness none {KEYS['a']}\nquorum none\n",
    "a name twice": f"{HEADER}group a any b\nquorum a\n",
    "a threshold of zero": f"{HEADER}group g 0 a\nquorum g\n",
    "a threshold above": f"{HEADER}group g 3 a b\nquorum g\n",
    "a threshold with a zero": f"{HEADER}group g 02 a b\nquorum g\n",
    "a threshold in other digits": f"{HEADER}group g ２ a b\nquorum g\n",
    "an unknown word": f"{HEADER}extension x\nquorum a\n",
    "a log without key": f"{HEADER}log\nquorum a\n",
    "a log with too much": f"{HEADER}log {VKEY} url more\nquorum a\n",
    "a log twice": f"log {VKEY}\nlog {VKEY}\nquorum none\n",
    "a witness key twice": f"{HEADER}witness e {KEYS['a']}\nquorum a\n",
    "a log key as witness": f"witness a {VKEY}\nquorum a\n",
    "a witness key as log": f"log {KEYS['a']}\nquorum none\n",
    "a broken key": f"witness a {KEYS['a'][:-4]}\nquorum a\n",
    "another key id": f"witness a {KEYS['a'].replace(COSIGNERS[0].key_id.hex(), '00000000')}\nquorum a\n",
    "a carriage return": f"{HEADER}quorum a\r\n",
    "a delete": f"{HEADER}# \x7f\nquorum a\n",
}


@pytest.mark.parametrize("form", BAD_POLICIES)
def test_a_policy_that_the_specification_does_not_allow_is_invalid(form: str) -> None:
    with pytest.raises(Invalid):
        Policy.parse(BAD_POLICIES[form])
    with pytest.raises(auditor.Broken):
        auditor.read_policy(BAD_POLICIES[form].encode())


def test_a_policy_says_which_line_is_wrong() -> None:
    with pytest.raises(Invalid, match="line 9 of the policy"):
        Policy.parse(f"{HEADER}quorum a\nquorum b\n")


def test_a_policy_is_octets_whatever_their_encoding() -> None:
    text = f"# \xb0\xa1\nlog {VKEY}\nquorum none\n".encode("latin-1")
    assert Policy.parse(text).satisfied(NOTE) == []
    assert auditor.read_policy(text).logs[0].public == VKEY.public


def test_a_policy_refuses_other_logs_failing_signatures_and_other_forms() -> None:
    policy = Policy.parse(policy_text(VKEY, COSIGNERS, quorum=2))
    assert policy.satisfied(cosigned("hill", "river")) == []
    assert policy.satisfied(cosigned("hill")) == ["the cosignatures do not reach the quorum of the policy"]
    stranger = sign_checkpoint(ORIGIN, size=9, root=TREE.root(), key=secret("another log"))
    assert policy.satisfied(stranger) == ["the checkpoint is not signed by a log that the policy names"]
    other = sign_checkpoint(ORIGIN, size=9, root=TREE.root(8), key=LOG_KEY)
    swapped = "".join([other, *cosigned("hill", "river").splitlines(keepends=True)[5:]])
    assert policy.satisfied(swapped) == [f"the signature of '{COSIGNERS[1].name}' on the checkpoint does not hold"]
    assert len(policy.satisfied("not a note")) == 1


def test_a_written_policy_reads_back() -> None:
    for quorum in range(5):
        policy = Policy.parse(policy_text(VKEY, COSIGNERS, quorum=quorum))
        assert policy.logs == (VKEY,)
        assert list(policy.witnesses.values()) == COSIGNERS
        assert policy.satisfied(cosigned(*NAMES[:quorum])) == []
        assert quorum == 0 or policy.satisfied(cosigned(*NAMES[: quorum - 1])) != []
    with pytest.raises(Invalid):
        policy_text(VKEY, COSIGNERS, quorum=5)


# --- proofs that travel alone ---

POLICY = Policy.parse(policy_text(VKEY, COSIGNERS, quorum=2))
LEAF = leaf_hash(bytes([5]))
PROOF = tlog_proof(5, TREE.inclusion_proof(5), cosigned("hill", "river"))


def test_a_proof_travels_alone() -> None:
    proof = verify_tlog_proof(PROOF, leaf_hash=LEAF, policy=POLICY)
    assert (proof.index, len(proof.proof)) == (5, 4)
    assert PROOF.startswith("c2sp.org/tlog-proof@v1\nindex 5\n")
    assert tlog_proof(proof.index, proof.proof, proof.checkpoint) == PROOF


def test_the_shortest_note_has_the_cosignatures_of_a_quorum_and_no_more() -> None:
    policy = Policy.parse(policy_text(VKEY, COSIGNERS, quorum=2))
    short = policy.shortest(cosigned(*NAMES))
    longest_last = sorted(COSIGNERS, key=lambda vkey: (-len(vkey.name), vkey.name))
    assert {line.name for line in parse_checkpoint(short).lines} == {ORIGIN, *(vkey.name for vkey in longest_last[2:])}
    assert policy.satisfied(short) == [] and policy.shortest(short) == short
    assert policy.shortest(cosigned("hill", "river")) == cosigned("hill", "river")
    with pytest.raises(Tampered, match="quorum"):
        policy.shortest(cosigned("hill"))


def test_the_shortest_note_keeps_a_member_of_every_group_that_must_sign() -> None:
    lines = [f"log {VKEY}", *(f"witness w{number} {vkey}" for number, vkey in enumerate(COSIGNERS))]
    groups = ["group hospitals 1 w0 w1 w2", "group all2 all hospitals w3", "quorum all2", ""]
    policy = Policy.parse("\n".join([*lines, *groups]))
    short = parse_checkpoint(policy.shortest(cosigned(*NAMES)))
    assert len(short.lines) == 3 and policy.satisfied(str(short)) == []
    assert COSIGNERS[3].name in {line.name for line in short.lines}
    unwitnessed = Policy.parse(policy_text(VKEY, COSIGNERS, quorum=0))
    assert [line.name for line in parse_checkpoint(unwitnessed.shortest(cosigned(*NAMES))).lines] == [ORIGIN]


def test_a_proof_of_another_entry_index_or_head_is_tampered() -> None:
    with pytest.raises(Tampered, match="not in the log"):
        verify_tlog_proof(PROOF, leaf_hash=leaf_hash(b"another"), policy=POLICY)
    with pytest.raises(Tampered, match="not in the log"):
        verify_tlog_proof(PROOF.replace("index 5", "index 4"), leaf_hash=LEAF, policy=POLICY)
    with pytest.raises(Tampered, match="quorum"):
        verify_tlog_proof(tlog_proof(5, TREE.inclusion_proof(5), cosigned("hill")), leaf_hash=LEAF, policy=POLICY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v1",
        PROOF.replace("@v1", "@v2"),
        PROOF.replace("index 5", "index 05"),
        PROOF.replace("index 5", "indexes 5"),
        PROOF.replace("index 5\n", ""),
        PROOF.replace("index 5\n", "extra AAAA\nindex 5\n"),
        PROOF.replace("index 5\n", "index 5\nAAAA\n"),
        PROOF.partition("\n\n")[0],
    ],
)
def test_a_proof_of_another_form_is_tampered(text: str) -> None:
    with pytest.raises(Tampered):
        TlogProof.parse(text)


def test_the_kinds_of_key_do_not_mix() -> None:
    assert VKEY.kind == LOG
    both = VKey(ORIGIN, COSIGNER, VKEY.public)
    assert both.key_id != VKEY.key_id
    assert not parse_checkpoint(NOTE).lines[0].is_by(both)
