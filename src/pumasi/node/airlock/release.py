"""The only door out. Findings or no findings, two people look, unless the permit says that clear catalogue statistics may pass.

`release` is the one function that turns an output into something that leaves. It asks the same log that everybody copies whether
this hospital's people have approved exactly these bytes, records the release there, and only then hands this hospital's part of
the key to the applicant. What leaves is that part, never a round's values.
"""

from __future__ import annotations

from pumasi.kernel import event as ev
from pumasi.kernel.envelope import unb64
from pumasi.kernel.errors import Refused, refuse_if
from pumasi.kernel.seal import seal_to
from pumasi.kernel.world import JobAtHospital, PermitCase, World
from pumasi.node.airlock.held import HeldOutput, held
from pumasi.node.courier import Courier
from pumasi.node.outgoing import Release
from pumasi.store.site import Site


def refusals(world: World, output: HeldOutput, hospital: str) -> list[str]:
    """Every reason why this output may not leave yet; empty means it may."""
    permit, here = _places(world, output, hospital)
    job = world.cases[output.case].jobs[output.job]
    reasons = [
        None if permit.state == "open" else f"the permit of {hospital} has ended",
        None if here.output == output.digest else "the log names another output than the one held here",
        None if job.outputs == {output.digest} else "not every hospital of the job has sealed this output",
        f"the job failed at {', '.join(job.failed)}" if job.failed else None,
        None if reviewed(permit, here) else "two people of this hospital have not both approved this output",
    ]
    return [reason for reason in reasons if reason is not None]


def _places(world: World, output: HeldOutput, hospital: str) -> tuple[PermitCase, JobAtHospital]:
    case = world.cases[output.case]
    if output.job not in case.jobs or hospital not in case.jobs[output.job].at:
        raise Refused("the log knows no such job at this hospital")
    return case.permits[hospital], case.jobs[output.job].at[hospital]


def reviewed(permit: PermitCase, here: JobAtHospital) -> bool:
    """Whether the people of this hospital have approved an output, or its permit lets it pass: once one person looks, two decide."""
    if here.airlock is None:
        return False
    automatic = permit.release == "automatic-if-clear" and here.findings == "clear" and not here.airlock.committed
    return automatic or here.airlock.decision == "approve"


def release(site: Site, courier: Courier, *, case: str, job: str, applicant_box: str) -> None:
    """Record the release and hand out this hospital's part of the key; `Refused` with every reason when it may not leave.

    May be called again after a crash: the log has one release, and the same part is sent.
    """
    output = held(site.database, case, job)
    permit, here = _places(site.world, output, site.id)
    if here.state != "released":
        refuse_if(*refusals(site.world, output, site.id))
        assert here.airlock is not None  # it was reviewed
        site.record(ev.Released, case=case, job=job, output=output.digest, reviewers=sorted(here.airlock.opened))
        return  # the part of the key leaves once the log has accepted the release
    context = f"release|{job}|{output.digest}|{permit.hospital}".encode()
    courier.send_release(Release(job, seal_to(unb64(applicant_box, 32), output.release_share, context=context)))
