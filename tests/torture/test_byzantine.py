"""A lying hub and up to f lying cosigners of 3f + 1 never get two conflicting final heads out of honest nodes.

The honest ones are real agents on real databases; the hub forks, rewinds, withholds and mixes as Hypothesis likes, and lying cosigners
sign every head there is. A head is final when a policy of 2f + 1 cosignatures accepts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from pumasi.kernel.envelope import Keys
from pumasi.ledger import note
from tests.casebook import ORIGIN
from tests.torture.histories import Stream
from tests.torture.scene import Listener, grown, head_over

FOLDER = TemporaryDirectory(prefix="pumasi-byzantine-")
MANY = 12  # entries that the attacker can put into a history


class Consortium:
    """n cosigning hospitals, of which the last `liars` lie, and the heads that anybody has signed."""

    def __init__(self, count: int, liars: int, folder: Path) -> None:
        self.book = Stream(f"{count} hospitals")
        self.names = [f"hospital-{number}" for number in range(count)]
        self.book.founded()
        for name in self.names:
            self.book.member(name, "hospital")
        self.base = list(self.book.log)
        self.honest = [Listener(folder / name, self.book, len(self.base), who=name) for name in self.names[: count - liars]]
        self.liars = self.names[count - liars :]
        self.newcomers = [self.book.newcomer(f"newcomer-{number}") for number in range(MANY)]
        self.vkeys = [
            note.cosigner_vkey(ORIGIN, name, Keys(self.book.cosigners[name], self.book.keys_of(name).box).public) for name in self.names
        ]
        self.log = note.log_vkey(ORIGIN, Keys(self.book.log_key, self.book.keys_of("hub").box).public)
        self.heads: dict[str, tuple[bytes, ...]] = {}  # the text of each head -> the history it is over
        self.lines: dict[str, dict[str, str]] = {}  # and its cosignatures, one of each hospital, as the hub keeps them

    def forget(self) -> None:
        for listener in self.honest:
            listener.forget()
        self.heads, self.lines = {}, {}

    def sign(self, history: Sequence[bytes]) -> str:
        """The hub signs, and so does every liar."""
        text = head_over(self.book, history)
        if text not in self.heads:
            self.heads[text] = tuple(history)
            names = {name: note.cosigner_name(ORIGIN, name) for name in self.liars}
            self.lines[text] = {name: note.cosign(text, names[name], key=self.book.cosigners[name], time=1_800_000_000) for name in names}
        return text

    def tell(self, listener: Listener, news: Sequence[bytes], head: str) -> list[str]:
        reasons, lines = listener.hear(news, head)
        for line in lines:
            self.lines[head].setdefault(note.SignatureLine.parse(line).name, line)
        return reasons

    def final(self, quorum: int) -> list[tuple[bytes, ...]]:
        """The histories whose heads this many have cosigned."""
        policy = note.Policy.parse(note.policy_text(self.log, self.vkeys, quorum=quorum))
        return [history for text, history in self.heads.items() if not policy.satisfied(self._cosigned(text))]

    def _cosigned(self, text: str) -> str:
        for line in self.lines[text].values():
            text = note.add_cosignature(text, line)
        return text


def conflicting(histories: Sequence[tuple[bytes, ...]]) -> bool:
    return any(grown(a).root() != grown(b[: len(a)]).root() for a, b in combinations(sorted(histories, key=len), 2))


@cache
def consortium(count: int, liars: int) -> Consortium:
    return Consortium(count, liars, Path(FOLDER.name) / f"{count} with {liars}")


class Attack(RuleBasedStateMachine):
    """What the hub does; `count` hospitals, `liars` of them its friends."""

    count, liars = 4, 1

    def __init__(self) -> None:
        super().__init__()
        self.world = consortium(self.count, self.liars)
        self.world.forget()
        self.histories = [list(self.world.base)]

    def _history(self, number: int) -> list[bytes]:
        return self.histories[number % len(self.histories)]

    @rule(number=st.integers(0, 5), keep=st.integers(0, MANY), items=st.lists(st.integers(0, MANY - 1), max_size=3, unique=True))
    def go_on(self, number: int, keep: int, items: list[int]) -> None:
        """Grow a history, or another one from some place in it."""
        start = self._history(number)[: len(self.world.base) + keep]
        new = start + [self.world.newcomers[item] for item in items if self.world.newcomers[item] not in start]
        if new not in self.histories and len(self.histories) < 6:
            self.histories.append(new)

    @rule(who=st.integers(0, 9), number=st.integers(0, 5), upto=st.integers(0, MANY), other=st.integers(0, 5), size=st.integers(1, MANY))
    def tell(self, who: int, number: int, upto: int, other: int, size: int) -> None:
        """Send one hospital some entries of one history, and a head over some part of that one or of another."""
        listener = self.world.honest[who % len(self.world.honest)]
        base = len(self.world.base)
        head = self.world.sign(self._history(other)[: base + size])
        self.world.tell(listener, self._history(number)[listener.size : base + upto], head)

    @rule(number=st.integers(0, 5), other=st.none() | st.integers(0, 5))
    def publish(self, number: int, other: int | None) -> None:
        """Tell everybody one history, under its own head or under that of another."""
        history = self._history(number)
        head = self.world.sign(self._history(number if other is None else other))
        for listener in self.world.honest:
            self.world.tell(listener, history[listener.size :], head)

    @rule(first=st.integers(0, MANY - 1), second=st.integers(0, MANY - 1), third=st.integers(0, MANY - 1))
    def rewind(self, first: int, second: int, third: int) -> None:
        """Go back to the beginning and on with another history that is longer by one; everybody is told what is behind their copy."""
        base, items = self.world.base, [self.world.newcomers[item] for item in dict.fromkeys((first, second, third))]
        for history in ([*base, *items[:1]], [*base, *items[1:]]):
            head = self.world.sign(history)
            for listener in self.world.honest:
                self.world.tell(listener, history[listener.size :], head)

    @rule(who=st.integers(0, 9))
    def restart(self, who: int) -> None:
        self.world.honest[who % len(self.world.honest)].restart()

    @invariant()
    def no_two_final_heads_conflict(self) -> None:
        assert not conflicting(self.world.final(2 * self.liars + 1))


class AttackOnSeven(Attack):
    count, liars = 7, 2


def attack(machine: type[Attack], *, examples: int) -> None:
    """So many random attacks of fifteen steps; `AssertionError` with the shortest that succeeds."""
    settled = settings(max_examples=examples, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    run_state_machine_as_test(machine, settings=settled)


@pytest.mark.parametrize(("machine", "examples"), [(Attack, 25), (AttackOnSeven, 10)])
def test_no_two_conflicting_heads_become_final(machine: type[Attack], examples: int) -> None:
    attack(machine, examples=examples)


def split(world: Consortium) -> None:
    """The strongest attack: two histories, each told to half of the honest."""
    world.forget()
    for side in (0, 1):
        history = [*world.base, world.newcomers[side]]
        head = world.sign(history)
        for listener in world.honest[side::2]:
            assert world.tell(listener, history[listener.size :], head) == []


def test_an_honest_hub_gets_its_heads_cosigned() -> None:
    world = consortium(4, 1)
    world.forget()
    for size in (1, 2, 3):
        history = [*world.base, *world.newcomers[:size]]
        head = world.sign(history)
        assert [world.tell(listener, history[listener.size :], head) for listener in world.honest] == [[], [], []]
    assert len(world.final(4)) == 3 and not conflicting(world.final(4))


@pytest.mark.parametrize(("count", "liars", "quorum", "conflict"), [(4, 1, 3, False), (4, 2, 3, True), (7, 2, 5, False), (7, 2, 4, True)])
def test_more_liars_or_a_smaller_quorum_would_break_it(count: int, liars: int, quorum: int, conflict: bool) -> None:
    """The bound is tight: with f + 1 liars, or with a bare majority of seven, two heads would be final."""
    world = consortium(count, liars)
    split(world)
    assert conflicting(world.final(quorum)) is conflict
