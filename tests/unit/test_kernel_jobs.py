"""Each invariant of jobs, releases and the end of a case, broken once: how it is refused, and that nothing changed."""

from __future__ import annotations

from typing import Any

import pytest

from pumasi.kernel import event as ev
from pumasi.kernel.envelope import sha256
from tests import kernel_world as k
from tests.kernel_world import APPLICANT, COORDINATOR, HERE, JOB, PAIR, THERE, Story

NEVER_SEEN = sha256(b"something else")


# --- job --------------------------------------------------------------------------------------------------------------


def test_a_job_needs_a_workspace_at_every_hospital() -> None:
    story = k.in_force()
    sentence = "'{}' has no permit in force with a workspace for this case"
    assert story.refusals(APPLICANT, ev.JobSubmitted, **k.job_fields()) == [sentence.format(HERE), sentence.format(THERE)]
    story.do(HERE, ev.WorkspaceOpened, manifest=k.MANIFEST)
    assert story.refusals(APPLICANT, ev.JobSubmitted, **k.job_fields()) == [sentence.format(THERE)]
    outside = k.opened().refusals(APPLICANT, ev.JobSubmitted, **k.job_fields(hospitals=[*PAIR, k.OUTSIDE]))
    assert outside == [sentence.format(k.OUTSIDE)]


@pytest.mark.parametrize(
    ("fields", "reasons"),
    [
        ({"hospitals": [HERE]}, ["the permit of 'haneul' asks for more hospitals to take part"]),
        ({"hospitals": [HERE, HERE]}, ["a hospital is named twice"]),
        ({"lead": k.OUTSIDE}, ["the lead node takes part in the job"]),
    ],
)
def test_a_job_names_its_hospitals(fields: dict[str, Any], reasons: list[str]) -> None:
    assert k.opened().refusals(APPLICANT, ev.JobSubmitted, **k.job_fields(**fields)) == reasons


def test_jobs_run_one_after_the_other_and_a_failed_one_blocks_nobody() -> None:
    story = k.running()
    another = k.job_fields(job="1b" * 16)
    running = ["another job of this case is still running; wait until it is sealed"]
    assert story.refusals(APPLICANT, ev.JobSubmitted, **another) == running
    k.seal(story, HERE)
    assert story.refusals(APPLICANT, ev.JobSubmitted, **another) == running
    story.do(THERE, ev.JobFailed, job=JOB, reason="fault", about=[])
    assert story.refusals(APPLICANT, ev.JobSubmitted, **another) == []


def test_two_projects_of_one_organisation_run_no_jobs_side_by_side() -> None:
    """Each would be compared with what was answered before, and neither with the other."""
    story, second = k.running(), "cb" * 16
    story.do(APPLICANT, ev.ApplicationSubmitted, **k.application_fields(case=second))
    another = k.job_fields(case=second, job="1b" * 16)
    waits = f"another project of your organisation has a job running at {', '.join(sorted((HERE, THERE)))}; wait until it is sealed"
    assert waits in story.refusals(APPLICANT, ev.JobSubmitted, **another)
    k.seal(story, HERE)
    assert waits in story.refusals(APPLICANT, ev.JobSubmitted, **another)  # the other hospital still runs it
    k.seal(story, THERE)
    assert waits not in story.refusals(APPLICANT, ev.JobSubmitted, **another)


def test_a_job_number_is_used_once_in_the_whole_log() -> None:
    story, second = k.running(), "cb" * 16
    story.do(APPLICANT, ev.ApplicationSubmitted, **k.application_fields(case=second))
    assert "this job was submitted before" in story.refusals(APPLICANT, ev.JobSubmitted, **k.job_fields(case=second))


# --- release ----------------------------------------------------------------------------------------------------------


def sealed(hospital: str, story: Story, output: str) -> list[str]:
    return story.refusals(hospital, ev.OutputSealed, job=JOB, output=output, findings="clear")


def test_the_hospitals_of_a_job_seal_one_output() -> None:
    story = k.seal(k.running(), HERE)
    assert sealed(THERE, story, NEVER_SEEN) == ["the hospitals of one job seal one output"]
    assert sealed(THERE, story, k.OUTPUT) == []


def test_a_job_that_failed_anywhere_is_sealed_and_released_nowhere() -> None:
    story = k.running()
    story.do(THERE, ev.JobFailed, job=JOB, reason="missing-hospital", about=[HERE])
    assert sealed(HERE, story, k.OUTPUT) == ["the job failed at bada"]
    story = k.airlock_approved()
    story.do(THERE, ev.JobFailed, job=JOB, reason="disagreement", about=[])
    assert "the job failed at bada" in story.refusals(HERE, ev.Released, **k.release_fields(HERE))


def test_an_output_needs_a_job_at_this_hospital() -> None:
    assert sealed(HERE, k.opened(), k.OUTPUT) == ["there is no such job at this hospital"]


ONE_PERSON = "two people of the hospital have not both approved this output"


@pytest.mark.parametrize(
    "reviewers",
    [
        [],
        [f"checker1@{HERE}"],
        [f"checker2@{HERE}", f"checker1@{HERE}"],
        [f"checker1@{HERE}", f"checker3@{HERE}"],
        [f"checker1@{HERE}"] * 2,
    ],
)
def test_a_release_names_the_two_who_approved(reviewers: list[str]) -> None:
    assert k.airlock_approved().refusals(HERE, ev.Released, **k.release_fields(HERE, reviewers=reviewers)) == [ONE_PERSON]


def test_one_person_releases_nothing() -> None:
    story = k.look(k.under_review(), "approve")
    reviewers = [f"checker1@{HERE}"]
    assert story.refusals(HERE, ev.Released, **k.release_fields(HERE, reviewers=reviewers)) == [ONE_PERSON]


def test_votes_that_are_not_all_open_release_nothing() -> None:
    story = k.airlock_committed()
    story.open(f"checker1@{HERE}", "airlock")
    assert story.refusals(HERE, ev.Released, **k.release_fields(HERE)) == [ONE_PERSON]


@pytest.mark.parametrize("decisions", [("approve", "reject"), ("reject", "approve"), ("reject", "reject")])
def test_one_rejection_keeps_the_output(decisions: tuple[Any, Any]) -> None:
    story = k.show(k.look(k.under_review(), *decisions))
    assert story.refusals(HERE, ev.Released, **k.release_fields(HERE)) == [ONE_PERSON]


def test_nothing_is_released_before_every_hospital_sealed_the_same() -> None:
    story = k.seal(k.running(), HERE)
    for number in (1, 2):
        story.vote(f"checker{number}@{HERE}", "airlock")
    for number in (1, 2):
        story.open(f"checker{number}@{HERE}", "airlock")
    assert story.refusals(HERE, ev.Released, **k.release_fields(HERE)) == ["not every hospital of the job has sealed this output"]
    k.seal(story, THERE)
    assert story.refusals(HERE, ev.Released, **k.release_fields(HERE)) == []


def test_a_release_names_what_was_reviewed() -> None:
    reasons = k.airlock_approved().refusals(HERE, ev.Released, **k.release_fields(HERE, output=NEVER_SEEN))
    assert reasons == ["a release names what was reviewed", "not every hospital of the job has sealed this output"]


def automatic(*, findings: str) -> Story:
    story = k.opened_automatic()
    story.do(APPLICANT, ev.JobSubmitted, **k.job_fields())
    return k.seal(story, *PAIR, findings=findings)


def test_what_a_permit_lets_go_by_itself() -> None:
    alone = k.release_fields(HERE, reviewers=[])
    assert automatic(findings="clear").refusals(HERE, ev.Released, **alone) == []
    assert automatic(findings="flagged").refusals(HERE, ev.Released, **alone) == [ONE_PERSON]
    looked_at = k.look(automatic(findings="clear"), "reject")
    assert looked_at.refusals(HERE, ev.Released, **alone) == [ONE_PERSON]  # once one person looks, two decide


@pytest.mark.parametrize("hospital", PAIR)
def test_a_revoked_permit_stops_what_was_approved_there(hospital: str) -> None:
    story = k.airlock_approved()
    story.do(f"steward@{hospital}", ev.PermitEnded, hospital=hospital, reason="revoked")
    reasons = story.refusals(hospital, ev.Released, **k.release_fields(hospital))
    assert reasons == [f"Released is not possible while the permit of {hospital} is 'ended'"]


# --- the end ----------------------------------------------------------------------------------------------------------


def test_a_workspace_is_destroyed_after_its_permit_ended() -> None:
    reasons = k.opened().refusals(HERE, ev.WorkspaceDestroyed, certificate=NEVER_SEEN)
    assert reasons == ["WorkspaceDestroyed is not possible while the permit of haneul is 'open'"]


def test_a_key_share_is_destroyed_once() -> None:
    story = k.ended()
    story.do(COORDINATOR, ev.KeyShareDestroyed, hospital=HERE)
    again = ["the coordinating body's key share is destroyed already"]
    assert story.refusals(COORDINATOR, ev.KeyShareDestroyed, hospital=HERE) == again
    story.do(HERE, ev.WorkspaceDestroyed, certificate=NEVER_SEEN)
    assert story.refusals(COORDINATOR, ev.KeyShareDestroyed, hospital=HERE) == again
    assert story.refusals(COORDINATOR, ev.KeyShareDestroyed, hospital=THERE) == []


@pytest.mark.parametrize("steps", ["nothing", "one workspace", "workspaces", "shares"])
def test_a_case_is_closed_when_everything_is_destroyed(steps: str) -> None:
    story = k.released()
    story.do(APPLICANT, ev.StudyDone)
    if steps == "one workspace":
        story.do(HERE, ev.WorkspaceDestroyed, certificate=NEVER_SEEN)
        story.do(COORDINATOR, ev.KeyShareDestroyed, hospital=HERE)
    if steps == "workspaces":
        k.destroy(story)
    if steps == "shares":
        k.destroy_shares(story)
    pending = THERE if steps == "one workspace" else f"{HERE}, {THERE}"
    reasons = story.refusals(COORDINATOR, ev.CaseClosed, **k.closing_fields(story))
    assert reasons == [f"the workspace and both keys are not destroyed yet at {pending}"]


@pytest.mark.parametrize("error", [-1, 1])
@pytest.mark.parametrize(("count", "whose"), [("events", "case"), ("consortium", "consortium")])
def test_the_closing_event_counts_what_was_said(count: str, whose: str, error: int) -> None:
    story = k.done()
    fields = k.closing_fields(story)
    reasons = story.refusals(COORDINATOR, ev.CaseClosed, **{**fields, count: fields[count] + error})
    assert reasons == [f"the closing event counts the {whose}'s events wrongly"]


def test_nothing_follows_the_closing_event() -> None:
    reasons = k.closed().refusals(APPLICANT, ev.StudyDone)
    assert reasons[0] == "the case is closed: its last event counts all the others"


def test_the_counts_are_the_entries_of_the_log() -> None:
    story, count = k.done(), len(k.MEMBERS)
    people = len(k.STAFF) * 3 + 3
    assert story.world.consortium_events == 1 + 2 * count + people + 3 + 1
    assert story.world.cases[k.CASE].events == sum(n for n, _, _ in story.world.chains[k.CASE].values())


def test_all_reasons_come_at_once() -> None:
    story = k.in_force()
    reasons = story.refusals("company-a", ev.JobSubmitted, signed_by="somebody else", seq=7, **k.job_fields(lead=k.OUTSIDE))
    assert len(reasons) == 5 and all(" " in reason and not reason.endswith(".") for reason in reasons)


def test_why_a_permit_ended_is_kept() -> None:
    story = k.opened()
    story.do(f"steward@{HERE}", ev.PermitEnded, hospital=HERE, reason="revoked")
    story.do(APPLICANT, ev.StudyDone)
    assert {hospital: permit.ended for hospital, permit in story.world.cases[k.CASE].permits.items()} == {HERE: "revoked", THERE: "done"}
    assert {permit.ended for permit in k.withdrawn().world.cases[k.CASE].permits.values()} == {None}  # there was none to end


def test_why_a_job_failed_is_kept() -> None:
    story = k.running()
    story.do(HERE, ev.JobFailed, job=JOB, reason="missing-hospital", about=[THERE])
    here = story.world.cases[k.CASE].jobs[JOB].at[HERE]
    assert (here.state, here.failure, here.waited_for) == ("failed", "missing-hospital", [THERE])
