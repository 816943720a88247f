"""Who may do what, in which state: every state of applications, permits and releases, every verb, every actor.

Each row is a world, reached by signed events alone. What a row does not list is refused to everybody. "node" and the posts are those of
the hospital looked at; the same people of the other hospital in the case move their own hospital's permit and never this one's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from pumasi.kernel import event as ev
from pumasi.kernel import rules
from pumasi.kernel.states import APPLICATION, PERMIT, RELEASE, Table
from tests import kernel_world as k
from tests.kernel_world import APPLICANT, COORDINATOR, HERE, PAIR, THERE, Story, from_nothing
from tests.spec.attempts import ACTORS, NAMES_THE_HOSPITAL, VERBS, attempt, role_of

RESEARCHERS = {APPLICANT, k.OTHER_RESEARCHER, k.HOSPITAL_RESEARCHER}
DRB, CHECKERS = {"drb1", "drb2", "drb3"}, {"checker1", "checker2", "checker3"}
VOTED_DRB, VOTED_CHECKERS = {"drb1", "drb2"}, {"checker1", "checker2"}
NODE, STEWARD, IRB, RESEARCHER, CENTRE = {"node"}, {"steward"}, {"irb"}, {APPLICANT}, {COORDINATOR}

May = dict[str, set[str]]
GIVE_UP: May = {"ApplicationWithdrawn": RESEARCHER, "StudyDone": RESEARCHER}
END: May = {"PermitEnded revoked": STEWARD, "PermitEnded expired": NODE}
IDLE: May = {"JobSubmitted": RESEARCHER, **END, **GIVE_UP}  # jobs of a case run one after the other
BUSY: May = {**END, **GIVE_UP}
SHARE: May = {"KeyShareDestroyed": CENTRE, "ShareCertified": CENTRE}
DESTROY: May = {"WorkspaceDestroyed": NODE, **SHARE, "DeletionPending": NODE}
WAITING: May = {"WorkspaceDestroyed": NODE, "ShareCertified": CENTRE}


@dataclass(frozen=True)
class Row:
    world: Callable[[], Story]
    application: str
    permit: str
    release: str
    may: May


def end(story: Story) -> Story:
    for hospital in PAIR:
        story.do(hospital, ev.PermitEnded, hospital=hospital, reason="expired")
    return story


@from_nothing
def sealed_automatic() -> Story:
    story = k.opened_automatic()
    story.do(APPLICANT, ev.JobSubmitted, **k.job_fields())
    return k.seal(story, *PAIR)


@from_nothing
def closed_early() -> Story:
    """Everything is destroyed and the case closed while an output was still under review, approved by two people."""
    story = k.airlock_approved()
    story.do(APPLICANT, ev.StudyDone)
    k.destroy_shares(k.destroy(story))
    story.do(COORDINATOR, ev.CaseClosed, **k.closing_fields(story))
    return story


@from_nothing
def done_undestroyed() -> Story:
    story = k.released()
    story.do(APPLICANT, ev.StudyDone)
    return story


@from_nothing
def withdrawn_in_the_middle() -> Story:
    story = k.running()
    story.do(APPLICANT, ev.ApplicationWithdrawn)
    return story


@from_nothing
def done_pending() -> Story:
    return k.wait(done_undestroyed())


@from_nothing
def done_reversal_asked() -> Story:
    story = done_pending()
    for hospital in PAIR:
        story.do(f"steward@{hospital}", ev.ReversalAsked)
    return story


ROWS: dict[str, Row] = {
    "nothing asked yet": Row(k.consortium, "-", "-", "-", {"ApplicationSubmitted": RESEARCHERS}),
    # boards
    "submitted": Row(k.submitted, "submitted", "in review", "-", {"VoteCommitted drb": DRB, "IrbDecided": IRB, **GIVE_UP}),
    "review board has voted": Row(
        k.drb_committed, "submitted", "in review", "-", {"VoteOpened drb": VOTED_DRB, "IrbDecided": IRB, **GIVE_UP},
    ),
    "boards have approved": Row(k.boards_approved, "submitted", "in review", "-", {"PermitAuthorised": STEWARD, **GIVE_UP}),
    # permit
    "authorised": Row(k.authorised, "submitted", "authorised", "-", {"PermitIssued": NODE, **GIVE_UP}),
    "in force": Row(k.in_force, "submitted", "in force", "-", {"WorkspaceOpened": NODE, **END, **GIVE_UP}),
    "open": Row(k.opened, "submitted", "open", "-", IDLE),
    # job and release
    "running": Row(k.running, "submitted", "open", "running", {"OutputSealed": NODE, "JobFailed": NODE, **BUSY}),
    "under review": Row(
        k.under_review, "submitted", "open", "under review", {"VoteCommitted airlock": CHECKERS, "JobFailed": NODE, **IDLE},
    ),
    "under review, automatic": Row(
        sealed_automatic, "submitted", "open", "under review",
        {"VoteCommitted airlock": CHECKERS, "Released automatically": NODE, "JobFailed": NODE, **IDLE},
    ),
    "airlock has voted": Row(
        k.airlock_committed, "submitted", "open", "under review", {"VoteOpened airlock": VOTED_CHECKERS, "JobFailed": NODE, **IDLE}
    ),
    "airlock approved": Row(
        k.airlock_approved, "submitted", "open", "under review", {"Released by people": NODE, "JobFailed": NODE, **IDLE},
    ),
    "airlock rejected": Row(k.airlock_rejected, "submitted", "open", "under review", {"JobFailed": NODE, **IDLE}),
    "released": Row(k.released, "submitted", "open", "released", IDLE),
    "failed": Row(k.failed, "submitted", "open", "failed", IDLE),
    # the end of a permit; the study goes on elsewhere
    "ended": Row(k.ended, "submitted", "ended", "-", {**DESTROY, **GIVE_UP}),
    "ended while running": Row(lambda: end(k.running()), "submitted", "ended", "running", {"JobFailed": NODE, **DESTROY, **GIVE_UP}),
    "ended after approval": Row(
        lambda: end(k.airlock_approved()), "submitted", "ended", "under review", {"JobFailed": NODE, **DESTROY, **GIVE_UP}
    ),
    "destroyed": Row(k.destroyed, "submitted", "destroyed", "-", {**SHARE, **GIVE_UP}),
    "both keys destroyed": Row(k.destroyed_both, "submitted", "destroyed", "-", GIVE_UP),
    # deletion in two steps, and back
    "deletion pending": Row(k.deletion_pending, "submitted", "deletion pending", "-", {"ReversalAsked": STEWARD, **WAITING, **GIVE_UP}),
    "reversal asked": Row(k.reversal_asked, "submitted", "reversal asked", "-", {"ReversalAgreed": CENTRE, **WAITING, **GIVE_UP}),
    "reversed": Row(k.reversed, "submitted", "open", "-", IDLE),
    "deletion pending after the date": Row(
        lambda: k.wait(k.ended()), "submitted", "deletion pending", "-", {**WAITING, **GIVE_UP}
    ),
    "deletion pending, share certified": Row(
        lambda: k.certify_shares(k.deletion_pending()), "submitted", "deletion pending", "-", {"WorkspaceDestroyed": NODE, **GIVE_UP}
    ),
    "reversal asked, share certified": Row(
        lambda: k.certify_shares(k.reversal_asked()), "submitted", "reversal asked", "-", {"WorkspaceDestroyed": NODE, **GIVE_UP}
    ),
    "destroyed after waiting": Row(lambda: k.destroy(k.deletion_pending()), "submitted", "destroyed", "-", {**SHARE, **GIVE_UP}),
    "destroyed and certified": Row(
        lambda: k.certify_shares(k.destroy(k.deletion_pending())), "submitted", "destroyed", "-", GIVE_UP
    ),
    "done, deletion pending": Row(
        done_pending, "done", "deletion pending", "released", {"ReversalAsked": STEWARD, **WAITING}
    ),
    "done, reversal asked": Row(
        done_reversal_asked, "done", "reversal asked", "released", {"ReversalAgreed": CENTRE, **WAITING}
    ),
    "withdrawn, deletion pending": Row(
        lambda: k.wait(withdrawn_in_the_middle()), "withdrawn", "deletion pending", "running", {"JobFailed": NODE, **WAITING}
    ),
    # the end of the study
    "withdrawn": Row(k.withdrawn, "withdrawn", "lapsed", "-", {"CaseClosed": CENTRE}),
    "withdrawn while running": Row(withdrawn_in_the_middle, "withdrawn", "ended", "running", {"JobFailed": NODE, **DESTROY}),
    "done": Row(done_undestroyed, "done", "ended", "released", DESTROY),
    "done and destroyed": Row(k.done, "done", "destroyed", "released", {"CaseClosed": CENTRE}),
    "closed": Row(k.closed, "closed", "destroyed", "released", {}),
    "closed with an output under review": Row(closed_early, "closed", "destroyed", "under review", {}),
}  # fmt: skip


def states_at(story: Story, hospital: str) -> tuple[str, str, str]:
    case = story.world.cases.get(k.CASE)
    if case is None:
        return "-", "-", "-"
    job = case.jobs.get(k.JOB)
    return case.state, case.permits[hospital].state, job.at[hospital].state if job else "-"


def next_states(row: Row, kind: str) -> tuple[str, str, str]:
    """What the three tables say; an event that a table does not know leaves that state as it is."""
    permit = "in review" if kind == "ApplicationSubmitted" else PERMIT.get((row.permit, kind), row.permit)
    return APPLICATION.get((row.application, kind), row.application), permit, RELEASE.get((row.release, kind), row.release)


def other(hospital: str) -> str:
    return THERE if hospital == HERE else HERE


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", ROWS)
def test_state_verb_actor(name: str, verb: str) -> None:
    row = ROWS[name]
    story = row.world()
    before = copy.deepcopy(story.world)
    for author in ACTORS:
        may = role_of(author) in row.may.get(verb, set())
        hospital = author.rpartition("@")[2]
        if role_of(author) == "node" or role_of(author) in k.STAFF:
            may = may and hospital in ((HERE,) if verb in NAMES_THE_HOSPITAL else PAIR)
        entry = attempt(story, author, verb)
        reasons = rules.refusals(story.world, entry)
        assert (reasons == []) == may, f"{author}, {verb}, {name}: {reasons}"
        if may:
            check_effect(row, story, entry, hospital if hospital in PAIR else HERE)
            forged = attempt(story, author, verb, signed_by=k.STRANGER)
            assert rules.refusals(story.world, forged) == [f"the signature on {entry.event.type} is not that of '{author}'"]
    assert story.world == before, "asking changed the world"


def check_effect(row: Row, story: Story, entry: ev.Entry, hospital: str) -> None:
    after = story.copy()
    rules.apply(after.world, entry)
    assert states_at(after, hospital) == next_states(row, entry.event.type)
    role = role_of(entry.event.author)
    if role in k.STAFF or role == "node" or entry.event.type in ("KeyShareDestroyed", "ShareCertified"):  # no hospital decides for another
        assert after.world.cases[k.CASE].permits.get(other(hospital)) == story.world.cases[k.CASE].permits.get(other(hospital))
        assert states_at(after, other(hospital)) == states_at(story, other(hospital))


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_in_the_states_that_they_say(name: str) -> None:
    row = ROWS[name]
    assert states_at(row.world(), HERE) == states_at(row.world(), THERE) == (row.application, row.permit, row.release)


@pytest.mark.parametrize(("table", "column"), [(APPLICATION, "application"), (PERMIT, "permit"), (RELEASE, "release")])
def test_every_transition_of_the_tables_is_taken_above(table: Table, column: str) -> None:
    taken = {(getattr(row, column), verb.split()[0]) for row in ROWS.values() for verb in row.may}
    assert set(table) - taken == set()
    assert {state for state, _ in table} | set(table.values()) <= {getattr(row, column) for row in ROWS.values()}


@pytest.mark.parametrize("name", ROWS)
def test_refusals_are_all_given_at_once_and_change_nothing(name: str) -> None:
    story = ROWS[name].world()
    for verb in VERBS:
        assert story.refusals_of(attempt(story, k.STRANGER, verb))
