"""The log as static files, for anybody to read, mirror by copying, and witness: `tlog/` in the hub's folder (C2SP tlog-tiles).

Only final checkpoints are put out, each after every tile below it. The database stays the hub's own record; these files follow it.
"""

from __future__ import annotations

from pathlib import Path

from pumasi.hub.log import Sequencer
from pumasi.ledger.note import parse_checkpoint
from pumasi.store.tiles import TileStore

PAGE = 4096  # entries that are copied at once


class Publisher:
    def __init__(self, folder: Path, log: Sequencer) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._log, self._tiles = log, TileStore(folder)

    def step(self) -> bool:
        """Put out the newest final checkpoint; whether there was a newer one."""
        checkpoint = self._log.final(0)
        published = self._tiles.checkpoint()
        if checkpoint is None or checkpoint == published:
            return False
        size = parse_checkpoint(checkpoint).size
        if published is not None and parse_checkpoint(published).size > size:
            return False  # a restart forgot the newer one's cosignatures; they come again
        while self._tiles.size < size:
            start = self._tiles.size
            self._tiles.append(self._log.site.entries(start, min(size, start + PAGE)))
        self._tiles.publish(checkpoint)
        return True
