"""A few hundred lies of twelve classes, none believed; `./run bench torture` tells ten thousand."""

from __future__ import annotations

import pytest

from tests.torture.mutations import CLASSES, attempts
from tests.torture.scene import Scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("scene"))


def test_there_are_twelve_classes() -> None:
    assert len(CLASSES) >= 12


def test_the_truth_is_believed(scene: Scene) -> None:
    reasons, lines = scene.tell(scene.log[scene.start :], scene.head)
    assert reasons == [] and lines == [], "the head has this node's cosignature already"
    reasons, lines = scene.tell(scene.log[scene.start :], scene.book.checkpoint(cosigners=[]))
    assert reasons == [] and len(lines) == 1
    assert scene.judge_heads(scene.listener.newest) == []
    assert scene.judge_audit(scene.log, scene.head) == []
    assert scene.judge_bundle(scene.value) == scene.judge_note(scene.head) == []
    assert [scene.judge_proof(text, entry) for text, entry in zip(scene.proofs, scene.log, strict=True)] == [[]] * len(scene.log)


@pytest.mark.parametrize("name", CLASSES)
def test_no_lie_is_believed(scene: Scene, name: str) -> None:
    tally = attempts(scene, name, count=40, seed=0)
    assert tally.believed == [] and tally.detected == tally.tried == 40
    assert all(len(reason.split()) > 3 for reason in tally.reasons)
