"""The measures of risk against the examples of the papers that defined them, counted by hand there."""

from __future__ import annotations

from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest

from pumasi.deid.reading import read
from pumasi.deid.risk.assess import Distance, as_json, assess
from pumasi.deid.risk.classes import classes, grouped
from pumasi.deid.risk.effects import coarser, effects
from pumasi.deid.risk.measures import expected_risk, reidentification
from pumasi.deid.risk.presence import presence
from pumasi.deid.risk.suda import special_uniques
from pumasi.kernel.errors import Invalid, NotFound, PumasiError
from tests.risk_tables import made, words

ADULT = Path(__file__).parents[3] / "shared/data/arx-kanonymity/data/adult.csv"

SWEENEY = words("""
    Black 1965 m 0214* short-breath
    Black 1965 m 0214* chest-pain
    Black 1965 f 0213* hypertension
    Black 1965 f 0213* hypertension
    Black 1964 f 0213* obesity
    Black 1964 f 0213* chest-pain
    White 1964 m 0213* chest-pain
    White 1964 m 0213* obesity
    White 1964 m 0213* short-breath
    White 1967 m 0213* chest-pain
    White 1967 m 0213* chest-pain
""")
FOUR_ANONYMOUS = words("""
    130** <30 heart
    130** <30 heart
    130** <30 viral
    130** <30 viral
    1485* >=40 cancer
    1485* >=40 heart
    1485* >=40 viral
    1485* >=40 viral
    130** 3* cancer
    130** 3* cancer
    130** 3* cancer
    130** 3* cancer
""")
THREE_DIVERSE = words("""
    1305* <=40 heart
    1305* <=40 viral
    1305* <=40 cancer
    1305* <=40 cancer
    1485* >40 cancer
    1485* >40 heart
    1485* >40 viral
    1485* >40 viral
    1306* <=40 heart
    1306* <=40 viral
    1306* <=40 cancer
    1306* <=40 cancer
""")
CLOSE = words("""
    4767* <=40 3000 gastric-ulcer
    4767* <=40 5000 stomach-cancer
    4767* <=40 9000 pneumonia
    4790* >=40 6000 gastritis
    4790* >=40 11000 flu
    4790* >=40 8000 bronchitis
    4760* <=40 4000 gastritis
    4760* <=40 7000 bronchitis
    4760* <=40 10000 stomach-cancer
""")
DIVERSE = words("""
    476** 2* 3000 gastric-ulcer
    476** 2* 4000 gastritis
    476** 2* 5000 stomach-cancer
    4790* >=40 6000 gastritis
    4790* >=40 11000 flu
    4790* >=40 8000 bronchitis
    476** 3* 7000 bronchitis
    476** 3* 9000 pneumonia
    476** 3* 10000 stomach-cancer
""")
DISEASES = tuple(
    tuple(row)
    for row in words("""
    flu infection respiratory any
    pneumonia infection respiratory any
    bronchitis infection respiratory any
    pulmonary-edema vascular respiratory any
    pulmonary-embolism vascular respiratory any
    gastric-ulcer stomach digestive any
    stomach-cancer stomach digestive any
    gastritis stomach digestive any
    colitis colon digestive any
    colon-cancer colon digestive any
""")
)


def test_the_two_anonymous_table_of_sweeney() -> None:
    with made("race birth gender zip problem", SWEENEY) as table:
        found = assess(table, quasi=["race", "birth", "gender", "zip"], sensitive=["problem"])
    risk = found.reidentification
    assert (risk.rows, risk.classes, risk.k, risk.uniques) == (11, 5, 2, 0)
    assert (risk.average_risk, risk.prosecutor) == (5 / 11, 1 / 2)
    assert found.l == 1


def test_l_diversity_of_machanavajjhala() -> None:
    with made("zip age condition", FOUR_ANONYMOUS) as table:
        homogeneous = assess(table, quasi=["zip", "age"], sensitive=["condition"])
    with made("zip age condition", THREE_DIVERSE) as table:
        diverse = assess(table, quasi=["zip", "age"], sensitive=["condition"])
    assert (homogeneous.reidentification.k, homogeneous.l) == (4, 1)
    assert (diverse.reidentification.k, diverse.l) == (4, 3)
    (one,) = diverse.disclosures
    assert one.entropy_l == pytest.approx(2**1.5)  # shares 1/2, 1/4, 1/4
    assert one.recursive_c == 2.0  # r1 = 2, r3 = 1
    assert one.alpha == 0.5


@pytest.mark.parametrize(
    ("rows", "salary", "disease"),
    [(CLOSE, 1 / 6, 8 / 27), (DIVERSE, 3 / 8, None)],
    ids=["table 5", "table 4"],
)
def test_t_closeness_of_li(rows: list[tuple[str, ...]], salary: float, disease: float | None) -> None:
    with made("zip age salary disease", rows) as table:
        found = assess(
            table,
            quasi=["zip", "age"],
            sensitive=["salary", "disease"],
            distances={"disease": Distance("hierarchical", DISEASES)},
        )
    first, second = found.disclosures
    assert (first.distance, second.distance) == ("ordered", "hierarchical")
    assert first.t == pytest.approx(salary)  # 0.167 and 0.375 in the paper
    if disease is not None:  # the class of gastritis, flu and bronchitis: 1/9 at a third, twice, and 2/9 over the root
        assert second.t == pytest.approx(disease)


def test_beta_and_delta_by_hand() -> None:
    # Table: a 1/2, b 1/4, c 1/4. Class x: a 1/2, b 1/2. Class y: a 1/2, c 1/2.
    with made("q s", words("x a\nx b\ny a\ny c")) as table:
        (found,) = assess(table, quasi=["q"], sensitive=["s"]).disclosures
    assert found.beta == 1.0
    assert found.delta == pytest.approx(log(2))
    assert not found.delta_strict  # c is not in x at all
    assert found.enhanced_holds  # 1 <= ln 4
    assert found.t == pytest.approx(0.25)


def test_suda_contributions_of_sdcmicro() -> None:
    with made("a b c", words("2 0 0\n1 3 6\n1 0 0")) as table:
        found = special_uniques(classes(table, quasi=["a", "b", "c"]))
    assert found.complete
    assert dict(found.patterns) == {(0,): 1, (1,): 1, (2,): 1, (0, 1): 1, (0, 2): 1}
    assert sorted(found.score) == [2, 2, 4]
    assert found.contribution.tolist() == [0.5, 0.375, 0.375]


def test_dis_is_the_probability_of_a_right_match() -> None:
    """Skinner and Elliot 2002: 3 uniques, 2 pairs, one in ten sampled: 3 x 0.1 / (3 x 0.1 + 2 x 2 x 0.9); alike rows all have it."""
    with made("a b", words("1 x\n2 x\n3 x\n4 x\n4 x\n5 x\n5 x")) as table:
        found = special_uniques(classes(table, quasi=["a", "b"]), fraction=0.1)
    assert found.dis.tolist() == pytest.approx([0.3 / 3.9] * 3)


def test_a_search_within_bounds_says_how_far_it_went() -> None:
    with made("a b c", words("2 0 0\n1 3 6\n1 0 0")) as table:
        found = special_uniques(classes(table, quasi=["a", "b", "c"]), effort=10)
    assert (found.largest, found.complete, found.sizes) == (1, False, (3,))


def test_a_missing_value_is_a_value_of_its_own() -> None:
    with made("a b", words("- x\n- x\n1 x\n1 -")) as table:
        found = classes(table, quasi=["a", "b"])
    assert sorted(found.sizes) == [1, 1, 2]
    assert [one.missing for one in found.columns] == [True, True]


def test_codes_beyond_64_bits_do_not_run_into_each_other() -> None:
    top = 2**32 - 1
    codes = [np.array(column, dtype=np.uint32) for column in ((top, 0, 2**30), (top, 0, 0), (3, 0, 0))]
    number, count = grouped(codes)
    assert (count, len(set(number.tolist()))) == (3, 3)


def test_numbers_with_leading_zeros_are_codes() -> None:
    with made("a b c d", words("01 10 2020-01-01 1e3\n02 9 2020-02-01 2")) as table:
        found = classes(table, quasi=["a", "b", "c", "d"])
    assert [one.kind for one in found.columns] == ["text", "number", "date", "number"]
    assert found.columns[1].order is not None
    assert found.columns[1].order.tolist() == [1, 0]  # the levels stand as text: "10", "9"


def test_risk_bands_and_thresholds() -> None:
    found = reidentification(np.array([1, 1, 2, 4, 5, 10]))
    assert found.above == ((0.05, 23), (0.09, 23), (0.2, 8), (0.33, 4), (0.5, 2))
    assert found.bands == ((1, 2), (2, 2), (3, 4), (5, 5), (10, 10), (20, 0), (100, 0))


def test_expected_risk_of_benedetti_and_franconi() -> None:
    """The closed forms for classes of one and two, the certainty of a census, and the limit p / f for many."""
    p = 0.1
    odds = p / (1 - p)
    found = expected_risk(np.array([1, 2, 100_000]), p)
    assert found[:2].tolist() == pytest.approx([-odds * log(p), odds - odds**2 * -log(p)])
    assert found[2] == pytest.approx(p / 100_000, rel=1e-3)
    assert expected_risk(np.array([1, 4]), 1.0).tolist() == [1.0, 0.25]


def test_effects_of_leaving_out_and_of_making_coarser() -> None:
    rows = words("\n".join(f"{age} {'x' if age % 2 else 'y'}" for age in range(20)))
    with made("age sex", rows) as table:
        age, sex = effects(classes(table, quasi=["age", "sex"]), 0.2) or ()
    assert (age.removed.k, age.removed.uniques, age.removed.above, age.removed.average_risk) == (10, 0, 0, 0.1)
    assert (age.coarser.levels, age.coarser.uniques) == (10, 20)  # ten pairs, told apart by sex
    assert (sex.removed.uniques, sex.removed.information_lost) == (20, 1.0)
    assert age.coarser.information_lost == pytest.approx(1 - log(10) / log(20))


def test_rare_text_goes_into_one_level() -> None:
    rows = words("\n".join(["a"] * 60 + ["b"] * 37 + ["c", "d", "-"]))
    with made("v", rows) as table:
        (column,) = classes(table, quasi=["v"]).columns
    into = coarser(column)  # levels: missing, a, b, c, d
    assert into[0] == into[3] == into[4]
    assert len({into[0], into[1], into[2]}) == 3


def test_a_table_beside_its_population() -> None:
    people = words("x\nx\nx\nx\ny\ny\nz\nw")
    with made("q", words("x\nx\ny\nz")) as table:
        table.connection.execute("CREATE TABLE people (q VARCHAR)")
        table.connection.executemany("INSERT INTO people VALUES (?)", people)
        from dataclasses import replace

        population = replace(table, where="people", sql="SELECT * FROM people", rows=len(people))
        found = presence(table, population, quasi=["q"])
        risk = as_json(assess(table, quasi=["q"], population_table=population))
        with pytest.raises(Invalid, match="more often in the table than in the population"):
            presence(population, table, quasi=["q"])
    assert (found.population, found.classes, found.k_map, found.uniques, found.population_uniques) == (8, 4, 1, 1, 2)
    assert (found.delta_min, found.delta_max) == (0.0, 1.0)
    assert found.marketer == pytest.approx((2 / 4 + 1 / 2 + 1 / 1) / 4)
    assert (risk["journalist"], risk["marketer"], risk["population_uniques"]) == (1.0, 0.5, 2)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"quasi": []}, "at least one quasi-identifying column"),
        ({"quasi": ["a", "nix"]}, "there is no column 'nix'"),
        ({"quasi": ["a", "a"]}, "'a' is named twice among the quasi columns"),
        ({"quasi": ["a"], "sensitive": ["b", "b"]}, "'b' is named twice among the sensitive columns"),
        ({"quasi": ["a"], "sensitive": ["a"]}, "'a' is both quasi and sensitive"),
        ({"quasi": ["a"], "population": 1}, "the table has more rows than that"),
        ({"quasi": ["a"], "population": -3}, "a population is a number of people"),
        ({"quasi": ["a"], "population": 10**23}, "a population is a number of people"),
        ({"quasi": ["a"], "distances": {"b": Distance("equal")}}, "'b', which is no sensitive column"),
        ({"quasi": ["a"], "sensitive": ["b"], "distances": {"b": Distance("ordered")}}, "'b' holds text, which has no order"),
        ({"quasi": ["a"], "sensitive": ["b"], "distances": {"b": Distance("hierarchical", (("x", "*"),))}}, "no row for some values"),
        (
            {"quasi": ["a"], "sensitive": ["b"], "distances": {"b": Distance("hierarchical", (("x", "m", "*"), ("y", "m", "o")))}},
            "two different parents",
        ),
    ],
)
def test_bad_questions_are_answered_with_a_sentence(asked: dict[str, object], said: str) -> None:
    with made("a b", words("1 x\n2 y")) as table, pytest.raises(Invalid, match=said):
        assess(table, **asked)  # type: ignore[arg-type]


def test_all_that_is_wrong_is_said_at_once() -> None:
    with made("a b", words("1 x\n2 y")) as table, pytest.raises(Invalid) as caught:
        assess(table, quasi=["a", "a", "u"], sensitive=["a", "v"])
    assert len(caught.value.reasons) == 4


def test_a_table_that_changes_while_it_is_read_is_no_table() -> None:
    with made("a b", words("1 x\n2 y")) as table, pytest.raises(PumasiError, match="changed while it was read"):
        classes(replace(table, sql="SELECT gen_random_uuid() AS a, b FROM given"), quasi=["a"], sensitive=["b"])


def test_a_missing_hierarchy_file_is_not_found(tmp_path: Path) -> None:
    from pumasi.deid.risk.valuetree import read_rows

    with pytest.raises(NotFound, match="no such hierarchy file"):
        read_rows(tmp_path / "none.csv")
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("a;b;c\nd;e\n", encoding="utf-8")
    with pytest.raises(Invalid, match="same number of columns"):
        read_rows(ragged)


@pytest.mark.skipif(not ADULT.is_file(), reason="the adult data is not here")
def test_adult_has_the_values_that_pycanon_reports() -> None:
    """pycanon 1.3.6 on the same file, quasi columns sex, race, workclass; age by ordered, occupation by equal distance."""
    with read(ADULT) as table:
        found = assess(table, quasi=["sex", "race", "workclass"], sensitive=["age", "occupation"])
    age, occupation = found.disclosures
    assert (age.t, age.beta, age.beta_enhanced, age.delta) == pytest.approx(
        (0.40611262562444483, 270.72972972972974, 10.31433813292063, 5.604807931608296), rel=1e-12
    )
    assert (occupation.t, occupation.beta, occupation.beta_enhanced, occupation.delta) == pytest.approx(
        (0.8935083880379285, 371.3703703703704, 8.11711355558441, 5.919888978248191), rel=1e-12
    )
    assert (found.l, found.reidentification.k, found.t) == (1, 1, occupation.t)
