import json
import math
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.forecast.errors import RecordsError
from runtime.forecast.records import MAX_FILE_BYTES, MAX_RECORDS, SCHEMA, History, parse_history
from tests.runtime.forecast_samples import TODAY, as_bytes, forecast_role, history_dict

ROLE = forecast_role()


def parsed(whole, **options) -> History:
    return parse_history(as_bytes(whole), "c17.json", ROLE, TODAY, **options)


def told(whole) -> dict[str, str]:
    return {problem.where: problem.what for problem in parsed(whole).problems}


def with_record(**values):
    whole = history_dict()
    whole["records"][1] = {"date": "2026-03-11"} | values
    return whole


def test_a_clean_file_is_read_whole():
    history = parsed(history_dict(), strict=True)
    assert history.problems == ()
    assert history.client == "C-17"
    assert [v.day for v in history.visits] == [date(2025, 7, 1), date(2025, 12, 30), date(2026, 6, 29)]
    assert dict(history.visits[0].measured) == {"density_per_cm2": 180, "terminal_share": 0.9, "diameter_um": 66}
    assert "terminal_share" not in history.visits[1].measured
    assert [dict(r.values) for r in history.records][:2] == [{"testosterone": 500, "stress": 7}, {"stress": 9}]
    assert dict(history.answers) == {"family-history": "maternal", "ar-rs6152": "G"}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (-3, "-3 is implausible: it lies between 2 and 2500"),
        (2500.5, "implausible"),
        (10**400, "implausible"),
        (math.nan, "not finite"),
        (math.inf, "not finite"),
        (-math.inf, "not finite"),
        ("540", "'540' is no number"),
        (True, "no number"),
        ([540], "a list is no number"),
        ({"value": 540}, "an object is no number"),
    ],
)
def test_an_impossible_value_takes_no_part_and_is_named(value, said):
    whole = with_record(testosterone=value, stress=9)
    history = parsed(whole)
    assert [p.where for p in history.problems] == ["records[1].testosterone"]
    assert said in history.problems[0].what
    assert dict(history.records[1].values) == {"stress": 9}
    with pytest.raises(RecordsError, match=r"c17.json: records\[1\]\.testosterone: .*leave --strict out"):
        parsed(whole, strict=True)


@pytest.mark.parametrize(
    ("day", "said"),
    [
        ("2026-07-01", "lies in the future"),
        ("9999-12-31", "lies in the future"),
        ("1969-12-31", "lies before"),
        ("2026-02-30", "no calendar"),
        ("20260311", "no date"),
        ("2026-3-11", "no date"),
        ("２０２６-03-11", "no date"),
        (20260311, "no date"),
        (None, "no date"),
        (["2026-03-11"], "no date"),
        ("2026-02-10", "the same day as records[0]"),
        ("2026-05-20", "out of order"),
    ],
)
def test_a_record_of_an_impossible_day_takes_no_part_and_is_named(day, said):
    whole = history_dict()
    whole["records"][1]["date"] = day
    history = parsed(whole)
    assert len(history.problems) == 1
    assert history.problems[0].where.startswith("records[1]")
    assert said in history.problems[0].what
    assert len(history.records) == 3
    with pytest.raises(RecordsError, match=r"records\[1\]"):
        parsed(whole, strict=True)


def test_one_wrong_day_costs_one_entry_whereever_it_stands():
    whole = history_dict()
    whole["visits"][0]["date"] = "2026-06-30"  # after all the others
    history = parsed(whole)
    assert [p.where for p in history.problems] == ["visits[0]"]
    assert [v.day for v in history.visits] == [date(2025, 12, 30), date(2026, 6, 29)]


def test_wrong_types_and_unknown_keys_are_named():
    whole = history_dict(
        visits={"date": "2026-01-01"}, mood="good", client=7, markers=["G"], questionnaire={"family-history": "cousin", "x": 1}
    )
    whole["records"] = [3, None, {"date": "2026-03-11", "stress": 9, "testosteron": 4}]
    said = told(whole)
    assert set(said) == {
        "'mood'",
        "client",
        "visits",
        "records[0]",
        "records[1]",
        "records[2].'testosteron'",
        "questionnaire.'x'",
        "questionnaire.family-history",
        "markers",
    }
    assert "known are date, testosterone, stress" in said["records[2].'testosteron'"]
    history = parsed(whole)
    assert (history.client, history.visits, len(history.records), dict(history.answers)) == (None, (), 1, {})


def test_answers_that_contradict_each_other_are_not_used():
    whole = history_dict(questionnaire={"ar-rs6152": "A"})
    assert "neither is used" in told(whole)["markers.ar-rs6152"]
    assert "ar-rs6152" not in parsed(whole).answers
    assert parsed(history_dict(questionnaire={"ar-rs6152": "G"})).answers["ar-rs6152"] == "G"


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../other.png", "a/../../b.png", "", "a\u0007.png", "x" * 200, 7, "..", "a\\b.png", "\ud800.png"]
)
def test_a_picture_lies_beside_the_records(name):
    whole = history_dict()
    whole["visits"][2]["picture"] = name
    history = parsed(whole)
    assert [p.where for p in history.problems] == ["visits[2].picture"]
    assert history.visits[2].picture is None
    whole["visits"][2]["picture"] = "pictures/c17.png"
    assert parsed(whole, strict=True).visits[2].picture == "pictures/c17.png"


def test_too_many_records_leave_the_newest():
    first = date(1995, 1, 1).toordinal()
    rows = [{"date": str(date.fromordinal(first + i)), "stress": 5} for i in range(MAX_RECORDS + 5)]
    history = parsed(history_dict(records=rows))
    assert len(history.records) == MAX_RECORDS
    assert history.records[-1].day == date.fromordinal(first + MAX_RECORDS + 4)
    assert "the first 5 were left out" in history.problems[0].what


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b'{"schema": "trichoscope/records/1", "client": "a", "client": "b"}', "a key comes twice"),
        (b"[]", 'not "schema"'),
        (b'{"schema": "trichoscope/records/2"}', 'not "schema"'),
        (b'{"schema": ["trichoscope/records/1"]}', 'not "schema"'),
        (b"[" * 100_000, "nested deeper"),
        (b'{"schema": "trichoscope/records/1", "client": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b" " * (MAX_FILE_BYTES + 1), "larger than 4 MiB"),
    ],
)
def test_what_is_no_such_file_is_refused_in_one_line(text, said):
    with pytest.raises(RecordsError, match=r"^c17\.json: ") as problem:
        parse_history(text, "c17.json", ROLE, TODAY)
    assert said in str(problem.value)
    assert "\n" not in str(problem.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.dates().map(str),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(("date", "stress", "testosterone", "picture", "x", "family-history")) | st.text(max_size=5), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("client", "visits", "records", "questionnaire", "markers"), JSON)))
def test_whatever_stands_in_a_file_only_what_is_plausible_is_used(parts):
    history = parse_history(json.dumps({"schema": SCHEMA} | parts).encode(), "c17.json", ROLE, TODAY)
    for part in (history.visits, history.records):
        days = [entry.day for entry in part]
        assert days == sorted(set(days))
        assert all(day <= TODAY for day in days)
    for record in history.records:
        assert record.values.keys() <= {"testosterone", "stress"}
        assert all(0 <= value <= 2500 for value in record.values.values())
    assert all(p.where.isprintable() and p.what.isprintable() for p in history.problems)
