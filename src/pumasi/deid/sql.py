"""The one place where treatments become DuckDB SQL. Each function takes a value and a step and returns the treated value.

Values are read as people mean them: without blanks around them, in normal form C, and nothing for NA, NULL and the like.
A value that a treatment cannot understand fails the query; it is never passed on and never silently emptied.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import date

from pumasi.deid import dates
from pumasi.deid.engine import literal
from pumasi.deid.icd import BLOCKS, CHAPTERS
from pumasi.deid.layers import Layers, Value
from pumasi.deid.treatments import LADDERS, Step

# What pandas.read_csv takes for missing; a treatment that has to understand a value takes it so, `keep` leaves it as it is.
MISSING = ("#N/A", "#NA", "-NaN", "-nan", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null")
BLANKS = " \t\n\v\f\r\u00a0\u3000"
NUMBERS = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "UHUGEINT",
    "FLOAT",
    "DOUBLE",
)
_LARGEST = 9e15  # beyond, a DOUBLE no longer tells whole numbers apart
OLDEST = 130
# HHS guidance on 164.514(b)(2)(i)(B) (census 2000) and the later list in Microsoft's anonymiser (census 2010): the union hides more.
RESTRICTED_ZIP3 = (
    "036",
    "059",
    "063",
    "102",
    "203",
    "205",
    "369",
    "556",
    "692",
    "790",
    "821",
    "823",
    "830",
    "831",
    "878",
    "879",
    "884",
    "890",
    "893",
)
_ATC = {"substance": 7, "chemical": 5, "pharmacological": 4, "therapeutic": 3, "anatomical": 1}


PROVINCES = "pumasi_provinces"  # a table (written, whole) that is there when a query runs


# Forms that nothing else has by chance: registration numbers with their dash, mobile telephones with signs between, mail addresses.
_BORN = r"[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
_TELLING = (
    rf"(?:^|[^0-9])(?:{_BORN}\s?-\s?[1-8][0-9*]{{6}}"
    r"|(?:\+82[-. ]?(?:\(0\))?|0)1[016789][-.) ]{1,2}[0-9]{3,4}[-. ][0-9]{4})(?:[^0-9]|$)"
)
_MAIL = r"[A-Za-z0-9_%+-]@[A-Za-z0-9-]+\.[A-Za-z]{2}"


def telling(x: str) -> str:
    """SQL: whether a text holds an identifier that its form alone gives away. Short cells, which are most, cost nothing."""
    mail = f"contains({x}, '@') AND regexp_matches({x}, {literal(_MAIL)})"
    number = f"strlen({x}) > 11 AND regexp_matches({x}, {literal(_TELLING)})"
    return f"CASE WHEN strlen({x}) < 6 THEN false ELSE ({mail}) OR ({number}) END"


def alone(step: Step) -> bool:
    """Whether a step asks for nothing but the value, so that equal values are treated equally."""
    match step.do:
        case "date":
            return step["at"] is None or step["at"] == "today" or step["at"][:1].isdigit()
        case "generalise":
            return step["by"] in LADDERS
        case _:
            return step.do in ("age", "bucket", "round", "limit", "withhold", "only")


def treated(layers: Layers, value: Value, step: Step, where: str, today: date) -> Value:
    """A value after a step that asks for nothing but the value."""
    match step.do:
        case "date":
            return cut_date(layers, value, step, where, fixed_day(step["at"], today))
        case "generalise" if step["by"] == "kr-address":
            return address(layers, value, str(step["level"]), PROVINCES)
        case "withhold" | "only":
            return (withheld if step.do == "withhold" else only)(layers, value, step)
        case _:
            return _BY_VALUE[step.do](layers, value, step, where)


def fixed_day(at: str | None, today: date) -> Value | None:
    """The date that a rule names."""
    return None if at is None else Value(f"DATE '{today.isoformat() if at == 'today' else at}'", 0, "date")


def is_number(kind: str) -> bool:
    return kind == "number" or kind in NUMBERS or kind.startswith("DECIMAL")


def text(layers: Layers, value: Value) -> Value:
    """A value as clean text; whole numbers without a decimal point, whatever type they were stored as."""
    if value.kind == "text":
        return value
    sql = value.sql
    if is_number(value.kind):
        whole = f"{sql} = round({sql}) AND abs({sql}) < {_LARGEST}"
        if value.kind in ("FLOAT", "DOUBLE", "number"):
            return layers.add(
                f"CASE WHEN {whole} THEN CAST(CAST({sql} AS BIGINT) AS VARCHAR) ELSE CAST({sql} AS VARCHAR) END", "text", value
            )
        return layers.add(f"CAST({sql} AS VARCHAR)", "text", value)
    if value.kind != "VARCHAR":
        return layers.add(f"CAST({sql} AS VARCHAR)", "text", value)
    full = f"trim(nfc_normalize({sql}), {literal(BLANKS)})"  # slow, so first ask whether the cell is plain, as most are
    ends = " OR ".join(f"ends_with({sql}, {literal(blank)})" for blank in " \t\r\n")
    ascii_only = f"strlen({sql}) = length({sql}) AND ord({sql}) > 32 AND NOT ({ends})"
    korean = f"regexp_full_match({sql}, '[!-~가-힣]([ -~가-힣]*[!-~가-힣])?')"
    clean = layers.add(f"CASE WHEN {ascii_only} THEN {sql} WHEN {korean} THEN {sql} ELSE {full} END", "text", value)
    missing = ", ".join(literal(token) for token in ("", *MISSING))
    long = f"strlen({clean.sql}) > 5 OR ord({clean.sql}) BETWEEN 46 AND 59"  # no token is longer or begins with a digit
    sql = f"CASE WHEN {long} THEN {clean.sql} WHEN list_contains([{missing}], {clean.sql}) THEN NULL ELSE {clean.sql} END"
    return layers.add(sql, "text", clean)


def number(layers: Layers, value: Value, where: str) -> Value:
    """A value as DOUBLE; one that is no plain number is refused."""
    if value.kind == "number":
        return value
    if is_number(value.kind):
        clean = value
        read = layers.add(f"CAST({value.sql} AS DOUBLE)", "number", value)
        missing = f"{read.sql} IS NULL OR isnan({read.sql})"
    else:
        clean = text(layers, value)
        grouped = f"regexp_full_match({clean.sql}, '[+-]?[0-9]{{1,3}}(,[0-9]{{3}})+([.][0-9]*)?')"  # 1,234.5 as spreadsheets show it
        odd = f"contains({clean.sql}, ',') OR contains({clean.sql}, '_')"
        plain = f"try_cast(replace({clean.sql}, ',', '') AS DOUBLE)"
        sql = f"CASE WHEN NOT ({odd}) THEN try_cast({clean.sql} AS DOUBLE) WHEN {grouped} THEN {plain} END"
        read, missing = layers.add(sql, "number", clean), f"{clean.sql} IS NULL"
    found = layers.add(f"CASE WHEN abs({read.sql}) <= {_LARGEST} THEN {read.sql} END", "number", read)
    layers.refuse(f"{found.sql} IS NULL AND NOT ({missing})", f"{where} holds values that are no numbers", found, clean, shown=clean)
    return found


def day(layers: Layers, value: Value, where: str, form: str | None = None) -> Value:
    """A value as DATE; one that is no date, or could be two, is refused."""
    if value.kind == "date":
        return value
    if value.kind in ("DATE", "moment") or value.kind.startswith("TIMESTAMP"):
        return layers.add(f"CAST({value.sql} AS DATE)", "date", value)
    clean = text(layers, value)
    return _dated(layers, clean, layers.add(dates.day(clean.sql, form), "date", clean), where)


def moment(layers: Layers, value: Value, where: str, form: str | None = None) -> Value:
    """A value as TIMESTAMP."""
    if value.kind == "DATE" or value.kind.startswith("TIMESTAMP"):
        return layers.add(f"CAST({value.sql} AS TIMESTAMP)", "moment", value)
    clean = text(layers, value)
    return _dated(layers, clean, layers.add(dates.moment(clean.sql, form), "moment", clean), where)


def _dated(layers: Layers, clean: Value, found: Value, where: str) -> Value:
    hint = (
        f"{where} holds values that are no dates, or could be two different days; write them as 2024-03-05, or say their format in the rule"
    )
    layers.refuse(f"{clean.sql} IS NOT NULL AND {found.sql} IS NULL", hint, found, clean, shown=clean)
    return found


def cut_date(layers: Layers, value: Value, step: Step, where: str, at: Value | None) -> Value:
    """A date cut to month, quarter, year or age."""
    to, form = step["to"], step["format"]
    if to == "age":
        born = day(layers, value, where, form)
        assert at is not None  # `treatments` lets no age pass without
        age = layers.add(f"CASE WHEN {at.sql} >= {born.sql} THEN datesub('year', {born.sql}, {at.sql}) END", "number", born, at)
        top = step["top"]
        return layers.add(f"CASE WHEN {age.sql} >= {top} THEN '{top}+' ELSE CAST({age.sql} AS VARCHAR) END", "text", age)
    if value.kind in ("VARCHAR", "text") or is_number(value.kind):
        clean = text(layers, value)
        first = _dated(layers, clean, layers.add(dates.part(clean.sql, to, form), "date", clean), where)
    else:
        first = day(layers, value, where, form)
    year = f"CAST(year({first.sql}) AS INTEGER)"
    match to:
        case "year" if at is not None:
            return layers.add(f"greatest({year}, CAST(year({at.sql}) AS INTEGER) - {step['top']})", "INTEGER", first, at)
        case "year":
            return layers.add(year, "INTEGER", first)
        case "quarter":
            return layers.add(f"strftime({first.sql}, '%Y') || '-Q' || quarter({first.sql})", "text", first)
        case _:
            return layers.add(f"strftime({first.sql}, '%Y-%m')", "text", first)


def age(layers: Layers, value: Value, step: Step, where: str) -> Value:
    """An age in bands (30-34), everything from the top up in one (90+)."""
    clean = text(layers, value)
    topped = layers.add(f"CASE WHEN {clean.sql} = '{step['top']}+' THEN '{step['top']}' ELSE {clean.sql} END", "text", clean)
    years = number(layers, topped, where)
    layers.refuse(f"{years.sql} < 0 OR {years.sql} > {OLDEST}", f"{where} holds ages below 0 or above {OLDEST}", years, clean, shown=clean)
    width, top = step["width"], step["top"]
    low = f"CAST(floor({years.sql} / {width}) * {width} AS INTEGER)"
    band = f"CAST({low} AS VARCHAR)" + (f" || '-' || CAST({low} + {width - 1} AS VARCHAR)" if width > 1 else "")
    return layers.add(f"CASE WHEN {years.sql} >= {top} THEN '{top}+' ELSE {band} END", "text", years)


def bucket(layers: Layers, value: Value, step: Step, where: str) -> Value:
    """An interval as a text: [10, 20), <18, >=65."""
    numbers = number(layers, value, where)
    x = numbers.sql
    if step["edges"] is not None:
        edges = [_plain(edge) for edge in step["edges"]]
        inner = " ".join(f"WHEN {x} < {high} THEN '[{low}, {high})'" for low, high in itertools.pairwise(edges))
        sql = f"CASE WHEN {x} < {edges[0]} THEN '<{edges[0]}' {inner} WHEN {x} >= {edges[-1]} THEN '>={edges[-1]}' END"
        return layers.add(sql, "text", numbers)
    width, start = step["width"], step["from"]
    exact = _decimal(width, start)
    steps = layers.add(f"({x} - {start}) / {width}", "number", numbers)
    below = f"floor({_nudged(steps.sql, x, width, start)})"
    low = layers.add(f"CAST({below} * {width} + {start} AS {exact})", "number", steps)
    return layers.add(f"'[' || {low.sql} || ', ' || CAST({low.sql} + {width} AS {exact}) || ')'", "text", low)


def _nudged(steps: str, x: str, width: float, start: float) -> str:
    """How many widths a number is away: the half or whole number that it is but for the binary digits that 0.3 / 0.1 lost."""
    if float(width).is_integer() and float(start).is_integer():
        return steps
    lost = f"1e-15 * (1 + (abs({x}) + {abs(start)}) / {width})"
    return f"CASE WHEN abs(2 * {steps} - round(2 * {steps})) <= {lost} THEN round(2 * {steps}) / 2 ELSE {steps} END"


def rounded(layers: Layers, value: Value, step: Step, where: str) -> Value:
    numbers = number(layers, value, where)
    return _rounded(layers, numbers, step["to"])


def _rounded(layers: Layers, numbers: Value, to: float) -> Value:
    kind = _decimal(to)
    steps = layers.add(f"{numbers.sql} / {to}", "number", numbers)
    return layers.add(f"CAST(round({_nudged(steps.sql, numbers.sql, to, 0)}) * {to} AS {kind})", kind, steps)


def limited(layers: Layers, value: Value, step: Step, where: str) -> Value:
    low, high = step["low"], step["high"]
    numbers = number(layers, value, where)
    sql = numbers.sql
    if low is not None:
        sql = f"greatest({sql}, {low})"
    if high is not None:
        sql = f"least({sql}, {high})"
    kept = f"CASE WHEN {numbers.sql} IS NOT NULL THEN {sql} END"
    whole = layers.add(kept, "number", numbers)
    return layers.add(f"CAST({whole.sql} AS {value.kind})", value.kind, whole) if value.kind in NUMBERS else whole


def noisy(layers: Layers, value: Value, step: Step, where: str, drawn: Value) -> Value:
    """Noise from 128 pseudorandom bits of this row and column: Box-Muller for the normal distribution, the inverse for the others."""
    numbers = number(layers, value, where)
    u, v = (f"((CAST('0x' || substr({drawn.sql}, {start}, 13) AS UBIGINT) + 0.5) / {2**52})" for start in (1, 17))
    match step["kind"]:
        case "normal":
            noise = f"sqrt(-2 * ln({u})) * cos(2 * pi() * {v})"
        case "uniform":
            noise = f"(2 * {u} - 1)"
        case _:
            noise = f"(CASE WHEN {u} < 0.5 THEN ln(2 * {u}) ELSE -ln(2 * (1 - {u})) END)"
    return _rounded(layers, layers.add(f"{numbers.sql} + {step['scale']} * {noise}", "number", numbers, drawn), step["to"])


def withheld(layers: Layers, value: Value, step: Step) -> Value:
    """NULL, or what stands for it, where a code begins with one of these; dots and case do not count."""
    clean = text(layers, value)
    code = layers.add(f"upper(replace({clean.sql}, '.', ''))", "text", clean)
    hit = " OR ".join(f"starts_with({code.sql}, {literal(one.upper().replace('.', ''))})" for one in step["codes"])
    return layers.add(f"CASE WHEN {hit} THEN {_shown(step)} ELSE {clean.sql} END", "text", code)


def only(layers: Layers, value: Value, step: Step) -> Value:
    clean = text(layers, value)
    listed = ", ".join(literal(one) for one in step["values"])
    return layers.add(f"CASE WHEN {clean.sql} IS NULL OR {clean.sql} IN ({listed}) THEN {clean.sql} ELSE {_shown(step)} END", "text", clean)


def _shown(step: Step) -> str:
    return "NULL" if step["as"] is None else literal(step["as"])


def generalised(layers: Layers, value: Value, step: Step, where: str) -> Value:
    """A level of a hierarchy that is built in. What it does not know becomes nothing: it may be anything."""
    by, level = step["by"], str(step["level"])
    if by == "age":
        return age(layers, value, Step("age", {"width": int(level), "top": 90 - 90 % int(level)}), where)
    clean = text(layers, value)
    return layers.add(_BUILT_IN[by](clean.sql, level), "text", clean)


def _zip(x: str, level: str) -> str:
    """Five or nine digits, or four where a spreadsheet took the leading zero."""
    five = f"CASE WHEN regexp_full_match({x}, '[0-9]{{4}}') THEN '0' || {x} ELSE {x} END"
    listed = ", ".join(f"'{one}'" for one in RESTRICTED_ZIP3)
    known = f"regexp_full_match({x}, '[0-9]{{3,5}}|[0-9]{{5}}-?[0-9]{{4}}')"
    return f"CASE WHEN NOT {known} THEN NULL WHEN left({five}, 3) IN ({listed}) THEN '000' ELSE left({five}, 3) END"


def address(layers: Layers, value: Value, level: str, provinces: str) -> Value:
    """The province, by its full name, and the next word if it is a city, county or district (시, 군, 구); else the province alone.

    `provinces` is a table (written, whole). An address that does not begin with a province could be anywhere: nothing.
    """
    clean = text(layers, value)
    spaced = f"contains({clean.sql}, '  ') OR contains({clean.sql}, ',')"
    plain = layers.add(f"CASE WHEN {spaced} THEN regexp_replace({clean.sql}, '[ ,]+', ' ', 'g') ELSE {clean.sql} END", "text", clean)
    first = layers.add(f"split_part({plain.sql}, ' ', 1)", "text", plain)
    province = layers.join(provinces, "written", first, {"whole": "text"})[0]
    if level == "province":
        return province
    second = layers.add(f"split_part({plain.sql}, ' ', 2)", "text", plain)
    ends = " OR ".join(f"ends_with({second.sql}, '{end}')" for end in "시군구")
    known = f"({ends}) AND regexp_full_match({second.sql}, '[가-힣]{{2,6}}')"
    district = f"CASE WHEN {known} THEN {province.sql} || ' ' || {second.sql} ELSE {province.sql} END"
    return layers.add(district, "text", province, second)


def _code(length: dict[str, int], form: str) -> Callable[[str, str], str]:
    return lambda x, level: f"CASE WHEN regexp_full_match({x}, '{form}') THEN left({x}, {length[level]}) END"


def _icd(x: str, level: str) -> str:
    code = f"upper(replace({x}, '.', ''))"
    known = f"regexp_full_match({code}, '[A-Z][0-9][0-9A-Z][0-9A-Z]{{0,4}}')"
    if level == "category":
        return f"CASE WHEN {known} THEN left({code}, 3) END"
    digits = f"regexp_full_match({code}, '.[0-9]{{2}}.*')"  # C7A sorts among C76 to C80 and is none of them
    within = [f"WHEN {digits} AND left({code}, 3) BETWEEN '{low}' AND '{high}' THEN '{low}-{high}'" for low, high in BLOCKS]
    whole = [f"WHEN left({code}, 3) BETWEEN '{low}' AND '{high}' THEN '{low}-{high}'" for low, high in CHAPTERS]
    cases = " ".join([*within, *whole] if level == "block" else whole)
    return f"CASE WHEN NOT {known} THEN NULL {cases} END"


def _atc(x: str, level: str) -> str:
    known = f"regexp_full_match(upper({x}), '[A-Z]([0-9]{{2}}([A-Z]([A-Z]([0-9]{{2}})?)?)?)?')"
    return f"CASE WHEN {known} THEN left(upper({x}), {_ATC[level]}) END"


_BUILT_IN: dict[str, Callable[[str, str], str]] = {
    "zip": _zip,
    "kr-code": _code({"district": 5, "province": 2}, "[1-5][0-9]{4}([0-9]{3}|[0-9]{5})?"),
    "kr-postcode": _code({"district": 3, "province": 2}, "[0-6][0-9]{4}"),
    "icd10": _icd,
    "kcd": _icd,
    "atc": _atc,
}


def _plain(x: float) -> str:
    return str(int(x)) if float(x).is_integer() else repr(x)


def _decimal(*steps: float) -> str:
    """A type that shows multiples of these exactly: BIGINT, or DECIMAL with as many digits behind the point as they have."""
    places = max(len(repr(float(step)).partition(".")[2].rstrip("0")) if "e" not in repr(float(step)) else 12 for step in steps)
    return f"DECIMAL(38, {places})" if places else "BIGINT"


_BY_VALUE: dict[str, Callable[[Layers, Value, Step, str], Value]] = {
    "age": age,
    "bucket": bucket,
    "round": rounded,
    "limit": limited,
    "generalise": generalised,
}
