"""Writes the reference pages that the code can tell by itself: `python docs/generate.py`. A test compares them with what is committed.

docs/reference/states.md has a script of its own, tests/shape/states_doc.py.
"""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, get_args

import typer.main
from fastapi.routing import APIRoute

from pumasi.analysis import forms
from pumasi.analysis.refusal import REASONS
from pumasi.cli import app as commands
from pumasi.client import studyfile
from pumasi.deid import rulefile, treatments
from pumasi.demo.hospitals import STUDY
from pumasi.hub import cli as hub_cli
from pumasi.hub import settings as hub_settings
from pumasi.hub.app import make_app, open_hub
from pumasi.kernel import codes
from pumasi.kernel.actor import MAY
from pumasi.kernel.certificate import CertificateV2, Manifest, ShareCertificate
from pumasi.kernel.job import Job
from pumasi.kernel.model import Model
from pumasi.kernel.permit import Permit
from pumasi.kernel.study import Application
from pumasi.ledger.bundle import FORMAT, OPENED, WITNESSED
from pumasi.ledger.verify import COMMON, EVENTS
from pumasi.node import settings as node_settings

FOLDER = Path(__file__).parent / "reference"
NOTE = "Generated from {source} by `python docs/generate.py`; a test compares them.\n"


# --- commands ---------------------------------------------------------------------------------------------------------


def commands_page() -> str:
    parts = ["# Commands · 명령\n", NOTE.format(source="`src/pumasi/cli.py` and the command modules it gathers")]
    parts.append(
        "In a checkout, write `./run pumasi` for `pumasi`. "
        "Every command ends with 0 (done), 1 (a fault, or a bundle that does not verify), 2 (unusable input) or 3 (refused by a rule).\n"
    )
    for path, command in sorted(_leaves(typer.main.get_command(commands), ())):
        names = [parameter.metavar or parameter.name.upper() for parameter in command.params if parameter.param_type_name == "argument"]
        parts.append(f"## `{' '.join(('pumasi', *path, *names))}`\n\n{command.help}\n")
        rows = [_option(parameter) for parameter in command.params if parameter.param_type_name == "option"]
        arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument" and parameter.help]
        rows = [f"| `{parameter.name.upper()}` | yes | {_cell(parameter.help)} |" for parameter in arguments] + rows
        if rows:
            parts.append("\n".join(["| | needed | |", "|---|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, child in getattr(command, "commands", {}).items():
        if hasattr(child, "commands"):
            yield from _leaves(child, (*path, name))
        elif not child.hidden:
            yield (*path, name), child


def _option(option: Any) -> str:
    names = " / ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    default = "" if option.required or option.is_flag or option.default in (None, "", ()) else f" Default: `{option.default}`."
    return f"| {names} | {'yes' if option.required else 'no'} | {_cell(option.help or '')}{default} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# --- settings ---------------------------------------------------------------------------------------------------------


def settings_page() -> str:
    hub = hub_settings.TEMPLATE.format(name='"coordinator"', origin='"pumasi.example/log"', host='"127.0.0.1"', port=8443)
    node = node_settings.TEMPLATE.format(name='"가상병원-2"', kind='"hospital"', hub='"https://127.0.0.1:8443"', smallest_cell=10)
    hub_settings.HubSettings.read(tomllib.loads(hub))
    node_settings.NodeSettings.read(tomllib.loads(node))
    return "\n".join(
        [
            "# Settings · 설정\n",
            NOTE.format(source="`src/pumasi/hub/settings.py` and `src/pumasi/node/settings.py`"),
            "`pumasi hub init` and `pumasi node init` write these files with your values in them. Every key must be there and no other; "
            "a wrong one is named in a sentence. A change counts from the next `serve`.\n",
            f"## hub.toml\n\n```toml\n{hub}```\n",
            f"## node.toml\n\n```toml\n{node}```\n",
            f"`legal_basis` is one of {_listed(codes.LegalBasis)}.\n",
            "## People · 사람\n",
            "A person's folder (`pumasi key new`) has no settings: `identity.toml` says who they are and which hub they "
            "speak to. `PUMASI_HOME` "
            "names the folder for commands that take `--home`.\n",
        ]
    )


def _listed(literal: object) -> str:
    return ", ".join(f"`{value}`" for value in get_args(literal))


# --- http -------------------------------------------------------------------------------------------------------------

ROUTES: dict[tuple[str, str], str] = {
    ("GET", "/"): "name of the log, its size, how many cosign it",
    ("POST", "/events"): "signed events, base64, one per line; per event its index, or the reasons why not",
    ("GET", "/log"): "entries from `start` on that the newest checkpoint covers, and it; waits up to `wait` seconds for a newer one",
    ("PUT", "/gossip"): "the newest head that a hospital was shown",
    ("GET", "/gossip"): "the newest heads that the hospitals say they were shown",
    ("PUT", "/recovery"): "the part of the log that a hub restored from a backup lacks, given back by a hospital",
    ("POST", "/cosignatures/{size}"): "a hospital's cosignature on the checkpoint over `size` entries",
    ("GET", "/checkpoint"): "the newest checkpoint with a quorum of cosignatures, over at least `covering` entries",
    ("GET", "/handover"): "how this hub came to a log that another had begun: the event with the quorum's signatures, and what to pin",
    ("GET", "/policy"): "the C2SP tlog-policy of this log: its key, its cosigners, the quorum",
    ("POST", "/admissions"): "the coordinating body admits the member named in the body",
    ("POST", "/revocations"): "the coordinating body revokes the keys of the member named in the body",
    ("PUT", "/documents/{commitment}"): "keep the document behind a salted commitment",
    ("GET", "/documents/{commitment}"): "the document behind a salted commitment, for the parties of its case",
    ("GET", "/catalogue"): "every described dataset, by hospital",
    ("GET", "/inbox"): "what waits for the person who asks",
    ("GET", "/members"): "every member: its kind, whether it is admitted, whether it runs a node",
    ("GET", "/chains/{case}"): "`seq` and `prev` of the caller's next event in a case",
    ("GET", "/cases/{case}"): "the state of a case; waits until the log is longer than `size`",
    ("GET", "/cases/{case}/bundle"): "the case bundle under a checkpoint over at least `covering` entries, for the parties of the case",
    ("POST", "/cases/{case}/reversals"): "the coordinating body agrees to reverse the deletion at the hospital named in the body",
    ("GET", "/cases/{case}/share"): "the coordinating body's half of a workspace key, sealed to the hospital that asks",
    ("PUT", "/jobs/{job}/{label}"): "a hospital leaves ciphertext for the others of a job",
    (
        "POST",
        "/jobs/{job}/{label}",
    ): "the same, and the answer is what lies there once all have sent: a line of JSON with senders and sizes, then the bytes",
    ("GET", "/jobs/{job}/{label}"): "what lies there; the applicant sees only `release` and `release-output`",
}


def http_page() -> str:
    found = {key: signed for key, signed in _routes()}
    if found.keys() != ROUTES.keys():
        raise SystemExit(f"describe these routes in {__file__}: {sorted(found.keys() ^ ROUTES.keys())}")
    rows = [f"| `{method}` | `{path}` | {'yes' if found[method, path] else 'no'} | {ROUTES[method, path]} |" for method, path in ROUTES]
    return "\n".join(
        [
            "# The hub's HTTP interface · 허브 인터페이스\n",
            NOTE.format(source="`src/pumasi/hub/app.py`"),
            "HTTPS with one certificate, `hub.crt`, which every party pins. Nodes and people dial in; the hub dials only witnesses "
            "that its policy names.\n",
            "A signed request carries the header `Pumasi-Request`: base64 of a signed statement of author, the hub (SHA-256 of its TLS "
            "certificate), method, path and query, SHA-256 of the body, the time, which may be at most five minutes off, and a number "
            "that was never used before (`src/pumasi/kernel/request.py`): it counts for this hub, once. An event carries "
            "its own signature "
            "instead, and the log is public.\n",
            'Refusals are JSON `{"reasons": [...]}` with status 401 (a signature does not hold), 404, 409 (a rule says no) '
            "or 422 (unusable input).\n",
            "\n".join(["| | path | signed | |", "|---|---|---|---|", *rows]) + "\n",
        ]
    )


def _routes() -> Iterator[tuple[tuple[str, str], bool]]:
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        home = Path(folder) / "hub"
        hub_cli.init(home=home)
        for route in make_app(open_hub(home)).routes:
            if isinstance(route, APIRoute):
                signed = any(getattr(dependency.call, "__name__", "") == "caller" for dependency in route.dependant.dependencies)
                for method in sorted(route.methods or ()):
                    yield (method, route.path), signed


# --- study.toml -------------------------------------------------------------------------------------------------------

STUDY_WORDS: dict[str, dict[str, str]] = {
    "top": {
        "title": "one line",
        "purpose": f"one of {_listed(codes.Purpose)}",
        "smallest_cell": "no number about fewer people leaves; boards and hospitals may raise it, never lower it",
        "tables": "one section `[tables.NAME]` per table; NAME is the file's name without its ending",
        "analysis": "one section `[[analysis]]` per analysis, answered in this order",
    },
    "table": {
        "person": "the column that tells people apart; it becomes a pseudonym with a random key per permit",
        "columns": "an allow-list: what is not named here never reaches a workspace",
        "where": "a condition for every analysis of the table, next to its own (may be left out): `age IS NOT NULL AND sbp IS NOT NULL`",
    },
    "column": {
        "is": f"one of {_listed(codes.ColumnClass)}; an identifier is always dropped, named or not",
        "keep": f"{_listed(codes.Keep)}: of a date only the year; without `keep` and `treat` a column comes as the hospitals show it",
        "treat": 'a treatment as in a rule file, such as `{ do = "age", width = 10 }`; no hospital\'s own rules may hide more',
        "levels": "the values it may hold, in this order (the first is the reference of a model); without it, those that "
        "hospitals describe",
    },
}


def _choices(key: forms.Key) -> str:
    return f": {', '.join(f'`{choice}`' for choice in key.choices)}" if key.choices else ""


def study_page() -> str:
    known: dict[str, dict[str, Any]] = {"top": studyfile._TOP, "table": studyfile._TABLE, "column": studyfile._COLUMN}
    if {part: set(keys) for part, keys in known.items()} != {part: set(words) for part, words in STUDY_WORDS.items()}:
        raise SystemExit(f"describe the keys of study.toml in {__file__}")
    titles = {"top": "Top", "table": "`[tables.NAME]`", "column": "One column"}
    parts = [
        "# study.toml\n",
        NOTE.format(
            source=", ".join(f"`src/pumasi/{of}.py`" for of in ("client/studyfile", "analysis/forms", "kernel/codes", "demo/hospitals"))
        ),
        "A study as a researcher writes it down. Everything is checked before anything is sent: an unknown key, a "
        "wrong type or a column that no "
        "section names is told with its line, all of them at once.\n",
        f"```toml\n{STUDY}```\n",
    ]
    for part, words in STUDY_WORDS.items():
        parts.append(
            f"## {titles[part]}\n\n"
            + "\n".join(["| key | |", "|---|---|", *(f"| `{key}` | {text} |" for key, text in words.items())])
            + "\n"
        )
    shared = [f"| `{name}` | {key.words} |" for name, key in forms.written("count").items()]
    rows = [
        f"| `{kind}` | `{name}` | {key.words}{_choices(key)}{'' if key.needed else ' (may be left out)'} |"
        for kind in forms.FORMS
        for name, key in forms.written(kind).items()
        if name not in forms.SHARED
    ]
    parts.append(
        "## `[[analysis]]`\n\nEach has a `name` (its own), a `kind` and the `table` it reads. Every kind also takes\n\n"
        + "\n".join(["| key | |", "|---|---|", *shared])
        + f"\n\nThe kinds are {', '.join(f'`{kind}`' for kind in forms.FORMS)}; `count` needs nothing more, the others have:\n\n"
        + "\n".join(["| kind | key | |", "|---|---|---|", *rows])
        + "\n"
    )
    return "\n".join(parts)


# --- the bundle -------------------------------------------------------------------------------------------------------

DOCUMENTS: dict[str, tuple[type[Model], str]] = {
    "ApplicationSubmitted": (Application, "plain"),
    "PermitIssued": (Permit, "signed by the hospital's node"),
    "WorkspaceOpened": (Manifest, "plain"),
    "JobSubmitted": (Job, "signed by the applicant"),
    "WorkspaceDestroyed": (CertificateV2, "signed by the hospital's node; in older logs a Certificate"),
    "ShareCertified": (ShareCertificate, "signed by the coordinating body"),
}


def bundle_page() -> str:
    if DOCUMENTS.keys() != OPENED.keys():
        raise SystemExit(f"describe the documents of a bundle in {__file__}: {sorted(DOCUMENTS.keys() ^ OPENED.keys())}")
    documents = [
        f"| `{event}.{field}` | {DOCUMENTS[event][0].__name__} | {DOCUMENTS[event][1]} | {_fields(DOCUMENTS[event][0])} |"
        for event, field in OPENED.items()
    ]
    events = [f"| `{name}` | {MAY[name]} | {', '.join(f'`{field}`' for field in fields) or '–'} |" for name, fields in EVENTS.items()]
    return "\n".join(
        [
            "# The case bundle · 사건 묶음\n",
            NOTE.format(source="`src/pumasi/ledger/bundle.py`, `src/pumasi/ledger/verify.py` and the kernel's models"),
            "One file that proves one case to somebody who trusts nobody: `pumasi verify FILE --policy POLICY`. It is one "
            "RFC 8785 document; "
            "other bytes, unknown fields and failing signatures are refused. It holds no result, no vote's words and no "
            "dataset's description.\n",
            "| field | |",
            "|---|---|",
            f'| `format` | `"{FORMAT}"`; `"{WITNESSED}"` when `witnesses` is there |',
            "| `witnesses` | verifier keys of witnesses outside the membership that have cosigned the checkpoint; only then |",
            "| `case` | the case's id |",
            "| `checkpoint` | C2SP tlog-checkpoint: the head of the log, signed by the log and cosigned by hospitals |",
            "| `entries` | the consortium's events and the case's, up to its closing: `index` in the log, the signed "
            "`event`, an RFC 9162 inclusion `proof` |",
            "| `heads` | each head that a hospital had seen when it issued its permit: `size`, `root`, a consistency `proof` |",
            "| `documents` | commitment → `salt` and `body`; the commitment is SHA-256(salt ‖ canonical body) |",
            "",
            "## Signed things\n",
            "`{body, key, sig}`: Ed25519 over `pumasi/KIND/v1`, a newline and the canonical body; KIND is `event`, "
            "`permit`, `job`, `certificate`, `share-certificate`, "
            "`handshake` or `request`, so that no signature serves twice.\n",
            "## Documents\n",
            "\n".join(["| committed to in | what | | fields |", "|---|---|---|---|", *documents]) + "\n",
            "## Events\n",
            f"Every event has {', '.join(f'`{field}`' for field in COMMON)}; `seq` and `prev` chain an author's events "
            "within a case. Who may say "
            "what in which state: [states.md](states.md).\n",
            "\n".join(["| event | from | its own fields |", "|---|---|---|", *events]) + "\n",
        ]
    )


def _fields(model: type[Model]) -> str:
    return ", ".join(f"`{name}`" for name in model.model_fields)


# --- rules of deid ----------------------------------------------------------------------------------------------------


def deid_rules_page() -> str:
    parts = [
        "# Rule files of `pumasi deid table` · 가명처리 규칙 파일\n",
        NOTE.format(source="`src/pumasi/deid/treatments.py` and `src/pumasi/deid/rulefile.py`"),
        "A rule file is TOML. It says for every column what is done with it; how to write one is in "
        "[Pseudonymise a table](../how-to/pseudonymise-a-table.md).\n",
        "## Settings of a file · 파일 설정\n",
        "\n".join(["| | |", "|---|---|", *(f"| `{name}` | {_cell(means)} |" for name, means in rulefile.KEYS.items())]) + "\n",
        "`[shift]` has "
        + "; ".join(f"`{name}`: {means}" for name, means in rulefile.SHIFT.items())
        + f". Without it dates move by up to {rulefile.Shift().days} days.\n",
        "A column is looked up by its name in its table (`[tables.NAME]`), then by a pattern there (`*` any letters, `?` one), by its name "
        "in `[columns]`, by a pattern there, and by the type that its values have (`[types]`). The longest pattern wins; two of the same "
        "length that disagree are refused. Upper and lower case are the same.\n",
        "## Treatments · 처리 방법\n",
        'A treatment is a word (`"drop"`), a table (`{ do = "round", to = 5 }`), or a list of them that is done in order. Beside its '
        "parameters a table may have `why`, `source` and `unverified = true`, which are shown in the record of a run. A text that is shown "
        "as it is (`keep`, `rare`, `withhold`) and holds what looks like a registration number, a telephone or a mail address is refused, "
        "unless the table says `checked = true`.\n",
    ]
    for name, treatment in treatments.TREATMENTS.items():
        parts.append(f"### `{name}`\n\n{treatment.means[0].upper()}{treatment.means[1:]}. {treatment.meaning}.\n")
        rows = [
            f"| `{parameter}` | {'yes' if one.default is ... else 'no'} | {_cell(one.means)}"
            + (f" Default: `{treatments.written(one.default)}`. |" if one.default not in (None, ...) else " |")
            for parameter, one in treatment.parameters.items()
        ]
        if rows:
            parts.append("\n".join(["| | needed | |", "|---|---|---|", *rows]) + "\n")
    names = "\n".join(
        f"| `{name}` | {_cell(rulefile.load(name).title)} | {_cell(rulefile.load(name).source)} |" for name in rulefile.names()
    )
    parts.append(f"## Files that are built in · 내장 규칙 파일\n\n| | | source |\n|---|---|---|\n{names}\n")
    return "\n".join(parts)


# --- refusals ---------------------------------------------------------------------------------------------------------


def refusals_page() -> str:
    rows = [f"| `{code}` | {_cell(meaning.english)} | {_cell(meaning.korean)} |" for code, meaning in REASONS.items()]
    return "\n".join(
        [
            "# Reasons of a refusal · 거절 사유\n",
            NOTE.format(source="`src/pumasi/analysis/refusal.py`"),
            "An analysis that is not answered has `refused`, sentences for people, and at the same places of `reasons` one of these codes "
            "for programs; `Result.reasons` of the SDK, and the column `reason` of its CSV. The list is closed: a hospital that sends "
            "another code ends the job. A code says no more than its sentence, and a sentence names columns of the study, never a number "
            "or a value.\n",
            "\n".join(["| code | | |", "|---|---|---|", *rows]) + "\n",
        ]
    )


PAGES = {
    "deid-rules.md": deid_rules_page,
    "refusals.md": refusals_page,
    "commands.md": commands_page,
    "settings.md": settings_page,
    "http.md": http_page,
    "study-toml.md": study_page,
    "bundle.md": bundle_page,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
