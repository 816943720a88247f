"""Why an analysis is not answered: a sentence for people, a code of a closed list for programs, and no number.

A `Refusal` is made where a limit is judged, from a template and the names that the study itself uses, and is a text wherever a sentence is
wanted. As plain data, between nodes and in results, refusals are two lists side by side: `refused` (sentences) and `reasons` (codes).
A code says no more than its sentence. Limit: a hospital that lies may send any sentence, but another code than these ends the job.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from pumasi.kernel.errors import Refused, Tampered

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Reason = Literal[
    "smallest-cell", "small-side", "count-in-disguise", "class-disclosure", "exact-fit", "dominance",
    "two-hospitals", "few-hospitals", "inconsistent-hospital",
    "too-many-parameters", "few-degrees-of-freedom", "too-many-cells", "grid-too-fine",
    "collinear", "separation", "no-convergence", "constant-column", "few-values", "nothing-to-compare",
    "unknown-level", "invalid-values", "beyond-measure", "several-rows", "other-unit",
    "other-results", "cannot-be-checked",
    "remembered-difference", "remembered-missing", "remembered-source", "remembered-hospitals", "remembered-together",
]  # fmt: skip


@dataclass(frozen=True)
class Meaning:
    english: str
    korean: str


REASONS: dict[Reason, Meaning] = {
    "smallest-cell": Meaning(
        "an answer, or a group in it, would be about fewer people than the smallest cell allows, perhaps about nobody",
        "답이나 그 안의 집단이 최소 셀 크기보다 적은 사람에 관한 것이 됩니다(아무도 없을 수도 있음)",
    ),
    "small-side": Meaning(
        "on one side of a column (a level or not, above its mean or not, the outcome or not) there are fewer people than that",
        "열의 한쪽(수준 해당 여부, 평균 초과 여부, 결과 유무)에 있는 사람이 최소 셀 크기보다 적습니다",
    ),
    "count-in-disguise": Meaning(
        "coefficients or means would be counts under another name, and a cell of that table is too small or is to be asked for as a table",
        "계수나 평균이 사실상 사람 수이며, 그 표의 셀이 너무 작거나 표로 물어야 합니다",
    ),
    "class-disclosure": Meaning(
        "everybody or nobody of a group, or hardly anybody, has the outcome, so the answer would tell it of each of them",
        "한 집단의 거의 모두가 결과를 가졌거나 거의 아무도 갖지 않아, 답이 각자의 결과를 드러냅니다",
    ),
    "exact-fit": Meaning(
        "the predictors reproduce the outcome, so the model would give away its values",
        "예측 변수가 결과를 그대로 재현하여 모형이 그 값을 드러냅니다",
    ),
    "dominance": Meaning(
        "one person, or a few, have so large a part in a sum that it would tell their values",
        "한 사람 또는 몇 사람이 합계의 너무 큰 부분을 차지하여 그들의 값을 드러냅니다",
    ),
    "two-hospitals": Meaning(
        "between two hospitals each would see the other's number, and it is of too few people; ask three or more",
        "두 병원 사이에서는 서로의 수를 알게 되는데 그 수가 너무 적은 사람에 관한 것입니다. 세 곳 이상에 물으십시오",
    ),
    "few-hospitals": Meaning(
        "the method needs more hospitals, or more that are large enough",
        "이 방법에는 더 많은 병원, 또는 충분히 큰 병원이 더 필요합니다",
    ),
    "inconsistent-hospital": Meaning(
        "what a hospital added to the sum does not fit what it may add",
        "한 병원이 합계에 더한 것이 더할 수 있는 것과 맞지 않습니다",
    ),
    "too-many-parameters": Meaning(
        "the model has more parameters than its people or events allow",
        "모형의 모수가 사람 수나 사건 수에 비해 너무 많습니다",
    ),
    "few-degrees-of-freedom": Meaning(
        "the model leaves too few degrees of freedom: it would be its data",
        "모형에 남는 자유도가 너무 적어 모형이 곧 자료가 됩니다",
    ),
    "too-many-cells": Meaning(
        "so many groups at once cannot be checked; ask for fewer",
        "한 번에 검사하기에는 집단이 너무 많습니다. 더 적게 물으십시오",
    ),
    "grid-too-fine": Meaning(
        "between the times of the grid too few people leave; give wider ones",
        "격자의 시점 사이에 추적이 끝나는 사람이 너무 적습니다. 간격을 넓히십시오",
    ),
    "collinear": Meaning(
        "columns of the model depend on each other",
        "모형의 열들이 서로 종속되어 있습니다(공선성)",
    ),
    "separation": Meaning(
        "the predictors foretell the outcome without error, so no finite estimate exists",
        "예측 변수가 결과를 오류 없이 가려내어 유한한 추정값이 없습니다(완전 분리)",
    ),
    "no-convergence": Meaning(
        "the computation did not come to an end",
        "계산이 수렴하지 않았습니다",
    ),
    "constant-column": Meaning(
        "a column has the same value for everybody",
        "한 열의 값이 모든 사람에게 같습니다",
    ),
    "few-values": Meaning(
        "people share too few values of a column to be divided by it",
        "열의 값이 너무 적어 사람을 나눌 수 없습니다",
    ),
    "nothing-to-compare": Meaning(
        "the groups share no time at which they could be compared",
        "집단들이 비교할 수 있는 시점을 공유하지 않습니다",
    ),
    "unknown-level": Meaning(
        "a column holds a value that the permits do not name as a level",
        "허가에 수준으로 적히지 않은 값이 열에 있습니다",
    ),
    "invalid-values": Meaning(
        "a column holds values that it cannot have in this analysis, as an outcome beside zero and one, or a time below zero",
        "이 분석에서 가질 수 없는 값이 열에 있습니다(0과 1이 아닌 결과, 음수 시간 등)",
    ),
    "beyond-measure": Meaning(
        "a column holds values beyond anything that is measured, or that cannot be added up",
        "측정될 수 있는 범위를 벗어나거나 더할 수 없는 값이 열에 있습니다",
    ),
    "several-rows": Meaning(
        "somebody has several rows where the method needs one",
        "한 사람에게 한 행이 필요한 방법인데 여러 행을 가진 사람이 있습니다",
    ),
    "other-unit": Meaning(
        "the values of one or more hospitals look like another unit",
        "하나 이상의 병원 값이 다른 단위로 보입니다",
    ),
    "other-results": Meaning(
        "together with other results of the project it would show a group that is too small",
        "과제의 다른 결과와 합치면 너무 작은 집단이 드러납니다",
    ),
    "cannot-be-checked": Meaning(
        "whether small groups would show cannot be found out",
        "작은 집단이 드러나는지 확인할 수 없습니다",
    ),
    "remembered-difference": Meaning(
        "an earlier analysis was about almost the same people, and the difference is too small a group",
        "이전 분석이 거의 같은 사람들에 관한 것이어서 그 차이가 너무 작은 집단입니다",
    ),
    "remembered-missing": Meaning(
        "very few missing values set it apart from an earlier analysis; give both a condition that leaves them out",
        "극소수의 결측값만이 이전 분석과 다릅니다. 두 분석에 결측을 빼는 조건을 주십시오",
    ),
    "remembered-source": Meaning(
        "a hospital's table has changed since an earlier analysis, by too few people or so that the two cannot be compared",
        "이전 분석 이후 병원의 표가 너무 적은 사람만큼 바뀌었거나 비교할 수 없게 바뀌었습니다",
    ),
    "remembered-hospitals": Meaning(
        "the same was asked of another set of hospitals before, some of which are in both",
        "일부가 겹치는 다른 병원들에 같은 것을 이미 물었습니다",
    ),
    "remembered-together": Meaning(
        "together with earlier analyses it would tell a value of one or two people by adding and subtracting",
        "이전 분석들과 더하고 빼면 한두 사람의 값이 드러납니다",
    ),
}


class Refusal(str):
    """One reason: its sentence, which knows its code."""

    reason: Reason

    def __new__(cls, reason: Reason, sentence: str) -> Self:
        made = super().__new__(cls, sentence)
        made.reason = reason
        return made

    def about(self, *names: str) -> Refusal:
        """A template with its places filled: with names of the study's columns, never with what is in them."""
        return Refusal(self.reason, self.format(*names))

    def calling(self, name: str, other: str) -> Refusal:
        """The same with another name for a column."""
        return Refusal(self.reason, self.replace(name, other))


def told(refusals: Sequence[Refusal]) -> dict[str, list[str]]:
    """As plain data. Texts and no `Refusal`s, so that a state is the same before and after it travelled."""
    return {"refused": [str(one) for one in refusals], "reasons": [one.reason for one in refusals]}


def end(*refusals: Refusal) -> dict[str, Any]:
    """The last state of a method that has no answer."""
    return {"step": "done", **told(refusals)}


def read(plain: Mapping[str, Any]) -> list[Refusal]:
    """What another node says; `Tampered` unless every sentence is a text and has a code of the list."""
    match plain:
        case {"refused": [*sentences], "reasons": [*codes]} if len(sentences) == len(codes):
            if all(isinstance(one, str) for one in (*sentences, *codes)) and all(code in REASONS for code in codes):
                return [Refusal(code, sentence) for code, sentence in zip(codes, sentences, strict=True)]
    raise Tampered("a hospital's reasons for giving no share are not of the closed list")


def typed(error: Refused) -> list[Refusal]:
    """Why a step was not taken. A reason without a code is this node's own trouble: the error is raised again, and the job ends."""
    found = [one for one in error.reasons if isinstance(one, Refusal)]
    if not found or len(found) < len(error.reasons):
        raise error
    return found


def united(several: Iterable[Sequence[Refusal]]) -> list[Refusal]:
    """Each once, in an order that depends on nothing but what they say."""
    found = {(str(one), one.reason): one for some in several for one in some}
    return [found[key] for key in sorted(found)]


def pairs(result: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Each sentence of a refused result with its code; results of earlier versions have none."""
    sentences = result["refused"]
    return list(zip(sentences, result.get("reasons", [None] * len(sentences)), strict=True))


def lines(result: Mapping[str, Any]) -> list[str]:
    """The same for a reader: the code in brackets."""
    return [sentence if code is None else f"{sentence} [{code}]" for sentence, code in pairs(result)]
