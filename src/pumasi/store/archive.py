"""`backup` and `restore` as people run them: the same for hub and node, in sentences. How it is done stands in backup.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from pumasi.store import backup


def archive(
    home: Path,
    plan: backup.Plan,
    *,
    name: str,
    to: Path,
    keys: bool,
    passphrase_file: Path | None,
    keep: int | None,
    ask: Callable[[], str],
) -> str:
    """Back `home` up to the file `to`, or into the folder `to`, which then keeps only the newest `keep`; what to tell."""
    now = datetime.now(UTC)
    passphrase = backup.passphrase_from(passphrase_file, ask) if keys else None
    file = backup.place(to, plan.kind, now)
    told = backup.told(backup.back_up(home, plan, file, name=name, now=now, passphrase=passphrase), file)
    if keep is not None and to.is_dir():
        backup.thin(to, plan.kind, keep=keep)
    return told


def revive(
    home: Path, plan: backup.Plan, source: Path, *, keys: bool, passphrase_file: Path | None, ask: Callable[[], str]
) -> Iterator[str]:
    """Restore into the new or empty folder `home`; what to tell, line by line."""
    passphrase = backup.passphrase_from(passphrase_file, ask) if keys else None
    manifest = backup.restore(home, plan, source, now=datetime.now(UTC), passphrase=passphrase)
    yield f"{manifest.name} as of {manifest.made_at}, with {manifest.size} entries of the log, is at {home}."
    for path in backup.missing_keys(home, plan):
        yield f"Still missing: {home / path}, from where you keep your keys (mode 0600)."
    yield f"Make sure that the {plan.kind} it was made from is off, for ever; then `pumasi {plan.kind} serve`."
