import json
from datetime import date

import numpy as np
import pytest

from runtime.forecast.attribution import attribution_picture
from runtime.forecast.errors import ForecastError
from runtime.forecast.forecasting import Forecaster, courses
from runtime.forecast.inputs import known, missing, picture_of
from runtime.forecast.records import parse_history
from runtime.forecast.result import Forecast, json_schema
from tests.runtime.bundle_samples import write_sample
from tests.runtime.forecast_samples import TODAY, as_bytes, forecast_role, history_dict, reckoned, stressed_is_high, write_forecast_bundle

ROLE = forecast_role()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_forecast_bundle(tmp_path_factory.mktemp("forecast") / "bundle")


@pytest.fixture(scope="module")
def fonts():
    """Matplotlib keeps the fonts open that it has used once."""
    attribution_picture([], "", "svg")


def parsed(whole, role=ROLE):
    return parse_history(as_bytes(whole), "c17.json", role, TODAY)


def test_records_become_months_with_gaps():
    found = known(parsed(history_dict()), ROLE, None)
    records = found.tensors["records"]
    assert records.shape == (1, 4, 4)
    assert records.dtype == np.float32
    # February, March (testosterone null), April (nothing), May (the mean of two)
    assert records[0] == pytest.approx(
        np.array([[-1 / 3, 1, 1, 1], [0, 2, 0, 1], [0, 0, 0, 0], [(545.25 - 550) / 150, 1, 1, 1]], np.float32), abs=1e-6
    )
    assert found.tensors["markers"].tolist() == [[2, 2]]
    assert found.tensors["picture"].tolist() == np.full((1, 32, 32, 3), 128).tolist()
    assert dict(found.last) == {"testosterone": 560, "stress": 5}
    assert not found.has_picture


def test_records_become_weeks_where_the_network_counts_in_weeks():
    role = forecast_role(interval="week")
    records = known(parsed(history_dict(), role), role, None).tensors["records"]
    assert records.shape == (1, 16, 4)  # Monday 9 February to Sunday 31 May
    assert np.flatnonzero(records[0, :, 3]).tolist() == [0, 4, 13, 15]


def test_what_is_older_than_the_network_looks_back_is_left_out():
    whole = history_dict(records=[{"date": f"{year}-05-12", "stress": year - 2020} for year in range(2021, 2027)])
    records = known(parsed(whole), ROLE, None).tensors["records"]
    assert records.shape == (1, 13, 4)  # most_records is 24: May 2025 and May 2026 fit into it, May 2024 does not
    assert records[0, [0, -1], 1] == pytest.approx([0.0, 0.5])


@pytest.mark.parametrize("visits", [0, 1, 2])
def test_below_three_visits_it_names_what_is_missing(bundle, visits):
    whole = history_dict()
    whole["visits"] = whole["visits"][:visits]
    with Forecaster(bundle) as forecaster:
        result = forecaster.forecast(parsed(whole))
    assert result.forecast is None
    assert result.attributions == []
    assert result.missing == [
        f"{3 - visits} more visit{'s' * (visits < 2)}: a forecast takes 3 visits on different days, {visits} can be used"
    ]
    assert json.loads(result.to_json())["forecast"] is None


def test_visits_that_cannot_be_used_do_not_count(bundle):
    whole = history_dict()
    whole["visits"][1]["date"] = "2026-06-29"
    history = parsed(whole)
    assert "the same day" in history.problems[0].what
    assert missing(history, ROLE)[0].startswith("1 more visit:")


def test_no_record_and_an_old_record_are_missing():
    assert missing(parsed(history_dict(records=[])), ROLE) == ["a record: no month has a usable value of testosterone, stress"]
    assert missing(parsed(history_dict(records=[{"date": "2026-05-01", "stress": None}])), ROLE)[0].startswith("a record: no month")
    (said,) = missing(parsed(history_dict(records=[{"date": "2024-05-01", "stress": 4}])), ROLE)
    assert said.startswith("a newer record: the last one is of 2024-05-01")
    assert len(missing(parsed(history_dict(records=[], visits=[])), ROLE)) == 2


def test_it_says_what_the_network_says_and_why(bundle):
    image = np.full((64, 48, 3), 88, np.uint8)
    with Forecaster(bundle) as forecaster:
        result = forecaster.forecast(parsed(history_dict()), image, picture="c17.png")
    assert result.missing == []
    stress = (1 + 2 + 0 + 1) / 4
    high = reckoned(40, stress, 2)
    assert result.forecast is not None
    assert result.forecast.label == "high"
    assert result.forecast.score == pytest.approx(high, abs=1e-5)
    assert result.forecast.probabilities == pytest.approx({"low": 1 - high, "high": high}, abs=1e-5)
    reasons = {a.input: a for a in result.attributions}
    assert reasons["stress"].change == pytest.approx(high - reckoned(40, 0, 2), abs=1e-5)
    assert reasons["picture"].change == pytest.approx(high - reckoned(0, stress, 2), abs=1e-5)
    assert reasons["ar-rs6152"].change == pytest.approx(high - reckoned(40, stress, 0), abs=1e-5)
    assert reasons["testosterone"].change == pytest.approx(0, abs=1e-6)
    assert [abs(a.change) for a in result.attributions] == sorted((abs(a.change) for a in result.attributions), reverse=True)
    points = round(100 * reasons["stress"].change)
    assert reasons["stress"].words == f"stress (last 5 of 10): raises the risk by {points} points of 100"
    assert reasons["testosterone"].words.endswith("hardly changes the risk")
    assert (result.used.picture, result.used.intervals, result.used.visits, result.used.records) == ("c17.png", 4, 3, 4)
    assert result.bundle == bundle.id
    assert result.validated_on_real_labels is False
    assert result.as_of == date(2026, 6, 29)


def test_what_is_not_known_changes_nothing_and_says_so(bundle):
    whole = history_dict(markers=None, records=[{"date": "2026-05-12", "stress": 9}])
    with Forecaster(bundle) as forecaster:
        result = forecaster.forecast(parsed(whole))
    unknown = {a.input: a for a in result.attributions if a.value is None}
    assert set(unknown) == {"picture", "testosterone", "ar-rs6152"}
    assert all(a.change == 0 and "not known" in a.words for a in unknown.values())
    assert result.used.picture is None


def test_the_result_follows_its_schema(bundle):
    import jsonschema

    with Forecaster(bundle) as forecaster:
        for whole in (history_dict(), history_dict(visits=[]), history_dict(records=[{"date": "2030-01-01"}])):
            line = forecaster.forecast(parsed(whole)).to_json()
            jsonschema.validate(json.loads(line), json_schema())
            assert Forecast.model_validate_json(line).to_json() == line


def test_the_newest_picture_counts_unless_it_is_old():
    whole = history_dict()
    whole["visits"][0]["picture"] = "a.png"
    assert picture_of(parsed(whole)) == "a.png"
    whole["visits"][1]["picture"] = "b.png"
    assert picture_of(parsed(whole)) == "b.png"
    whole["visits"][1].pop("picture")
    whole["visits"][0]["date"] = "2024-07-01"
    assert picture_of(parsed(whole)) is None
    assert picture_of(parsed(history_dict(visits=[]))) is None


def test_courses_are_straight_lines_through_the_visits():
    by_name = {course.figure: course for course in courses(parsed(history_dict()))}
    density = by_name["density_per_cm2"]
    assert (density.first, density.last, density.visits) == (180, 161, 3)
    assert density.change_per_year == pytest.approx(-19.1, abs=0.2)
    assert density.change_per_year_std == pytest.approx(0.6, abs=0.3)
    assert by_name["terminal_share"].change_per_year == pytest.approx(-0.1, abs=0.002)
    assert by_name["terminal_share"].change_per_year_std is None
    assert by_name["diameter_um"].change_per_year is None


def test_many_problems_are_all_counted(bundle):
    whole = history_dict()
    whole["records"] += [{"date": "2099-01-01"}] * 300
    with Forecaster(bundle) as forecaster:
        result = forecaster.forecast(parsed(whole))
    assert result.problem_count == 300
    assert len(result.problems) == 200


def test_a_bundle_without_forecast_and_one_that_answers_nonsense_are_errors(tmp_path):
    with pytest.raises(ForecastError, match="has no forecast"):
        Forecaster(write_sample(tmp_path / "dark"))
    bundle = write_forecast_bundle(tmp_path / "b", model=stressed_is_high(0.5))
    with Forecaster(bundle) as forecaster, pytest.raises(ForecastError, match="no probabilities"):
        forecaster.forecast(parsed(history_dict()))


def test_the_reasons_as_a_picture(bundle, fonts):
    with Forecaster(bundle) as forecaster:
        result = forecaster.forecast(parsed(history_dict()))
    svg = attribution_picture(result.attributions, "C-17 $ 2026", "svg")
    assert b"<svg" in svg
    assert svg == attribution_picture(result.attributions, "C-17 $ 2026", "svg")
    assert attribution_picture(result.attributions, "C-17", "png").startswith(b"\x89PNG")
