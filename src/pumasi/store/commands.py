"""Commands that a hub and a node have alike, about their own record. They work beside the process that serves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from pumasi.kernel.envelope import Keys
    from pumasi.store.backup import Plan
    from pumasi.store.site import Site

Home = Annotated[Path, typer.Option(help="The folder of this hub or node.")]
Passphrase = Annotated[Path | None, typer.Option(help="One line, mode 0600; without it you are asked.")]


@dataclass(frozen=True)
class RecordCommands:
    """For one kind of party; `name_at` reads the party's id from the settings in its folder."""

    kind: Literal["hub", "node"]
    name_at: Callable[[Path], str]

    def backup(
        self,
        home: Home,
        to: Annotated[Path, typer.Option(help="A new file, or a folder that gets one named after the time.")],
        with_keys: Annotated[bool, typer.Option("--with-keys", help="Put the signing keys in, encrypted under a passphrase.")] = False,
        passphrase_file: Passphrase = None,
        keep: Annotated[int | None, typer.Option(min=1, help="In a folder: remove all but this many of the newest.")] = None,
    ) -> None:
        """Back up log, documents and settings, also while serving. No key of a permit is ever in it."""
        from pumasi.store.archive import archive

        ask = lambda: str(typer.prompt("Passphrase for the keys", hide_input=True, confirmation_prompt=True))  # noqa: E731
        name = self.name_at(home)
        typer.echo(archive(home, self._plan(), name=name, to=to, keys=with_keys, passphrase_file=passphrase_file, keep=keep, ask=ask))

    def restore(
        self,
        home: Annotated[Path, typer.Option(help="A new or empty folder.")],
        source: Annotated[Path, typer.Option("--from", help="A backup.")],
        with_keys: Annotated[bool, typer.Option("--with-keys", help="Take the signing keys out of it.")] = False,
        passphrase_file: Passphrase = None,
    ) -> None:
        from pumasi.store.archive import revive

        ask = lambda: str(typer.prompt("Passphrase for the keys", hide_input=True))  # noqa: E731
        for line in revive(home, self._plan(), source, keys=with_keys, passphrase_file=passphrase_file, ask=ask):
            typer.echo(line)

    def check(self, home: Home) -> None:
        """Replay this copy of the log from its first entry: every signature, rule and hash. A start from a snapshot only samples."""
        from pumasi.store.check import check

        for line in check(self._database(home), id=self.name_at(home), keys=self._keys(home), snapshot=home / "snapshot"):
            typer.echo(line)

    def documents(self, home: Home, case: str) -> None:
        """List the documents that the events of a case commit to, and whether they are here."""
        from pumasi.store.erasure import of_case

        for line in of_case(self._record(home), case):
            typer.echo(line)

    def erase(
        self, home: Home, commitment: Annotated[str, typer.Argument(help="64 hexadecimal digits, as `documents` lists them.")]
    ) -> None:
        """Erase body and salt of one document that nothing needs any more; every proof in the log stays valid."""
        from pumasi.store.erasure import erase

        for line in erase(self._record(home), commitment, database=self._database(home)):
            typer.echo(line)

    def _plan(self) -> Plan:
        from pumasi.store import backup

        return backup.HUB if self.kind == "hub" else backup.NODE

    def _database(self, home: Path) -> Path:
        return home / self._plan().databases[0]

    def _keys(self, home: Path) -> Keys:
        from pumasi.kernel.envelope import Keys

        return Keys.from_text((home / self._plan().keys[0]).read_text())

    def _record(self, home: Path) -> Site:
        from pumasi.store.db import open_db
        from pumasi.store.site import Site
        from pumasi.store.snapshot import Snapshots

        name, keys = self.name_at(home), self._keys(home)  # before a database is made in a folder that is no party's
        return Site(open_db(self._database(home)), id=name, keys=keys, snapshots=Snapshots(home / "snapshot", keys))
