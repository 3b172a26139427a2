import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from runtime.bundles import golden as golden_data
from runtime.bundles.errors import BundleError
from runtime.bundles.golden import GoldenCase, pack
from runtime.bundles.manifest import Manifest
from runtime.bundles.parts import Golden, Tolerance, Variant
from runtime.bundles.proof import prove
from runtime.bundles.proof_report import plot, write_report
from runtime.bundles.reader import FACTORY, Bundle, read_bundle
from runtime.bundles.roles import Roles, SeverityRole
from runtime.bundles.writer import entries
from runtime.errors import TrichoscopeError
from runtime.inference.backend import Backend
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
from tests.runtime.bundle_samples import GOLDEN, MODEL, card, dark_is_hair, golden, segmenter_role

ENDS = {"dice": 0.01, "hair_count": 0.0, "median_width": 0.01}
ROWS = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.2, 0.4, 0.3]], np.float32)


def bundle_of(roles: Roles, content: dict[str, bytes]) -> Bundle:
    manifest = Manifest(name="sample", release=1, minimum_version="0.1.0", roles=roles, files=entries(content))
    return Bundle(manifest, content, "0" * 64)


def sample(*, end: dict[str, float] | None = None, tolerances=("features", "hair", "marks"), data: bytes | None = None, variants=()):
    gold = Golden(file=GOLDEN, tolerances=tuple(Tolerance(output=n, absolute=1e-4) for n in tolerances), end=ENDS if end is None else end)
    content = {MODEL: dark_is_hair(), GOLDEN: golden() if data is None else data}
    return bundle_of(Roles(segmenter=segmenter_role(golden=gold, variants=variants)), content)


def severity(expected: np.ndarray = ROWS) -> Bundle:
    gold = Golden(file="g.npz", tolerances=(Tolerance(output="probabilities", absolute=1e-4),), end={"severity": 0.0})
    role = SeverityRole(
        model="m.onnx", golden=gold, card=card(), input="features", features=("a", "b"), labels=("none", "mild", "moderate", "severe")
    )
    wide = gold.model_copy(update={"tolerances": (Tolerance(output="probabilities", absolute=0.5),)})
    role = role.model_copy(update={"golden": wide})  # so that the grade alone fails
    cases = pack([GoldenCase({"features": np.zeros((2, 2), np.float32)}, {"probabilities": expected})])
    return bundle_of(Roles(severity=role), {"m.onnx": b"any", "g.npz": cases})


class Changed(Backend):
    """The reference with its outputs changed."""

    def __init__(self, change, inner=None) -> None:
        super().__init__("changed")
        self.change, self.inner = change, OnnxBackend(dark_is_hair(), threads=1) if inner is None else inner

    def _activate(self) -> None:
        self.inner.activate()

    def _infer(self, inputs):
        return self.change(self.inner.infer(inputs))

    def _deactivate(self) -> None:
        self.inner.deactivate()


class Answers(Backend):
    """Says the same to everything."""

    def __init__(self, **outputs: np.ndarray) -> None:
        super().__init__("answers")
        self.outputs = outputs

    def _activate(self) -> None:
        pass

    def _infer(self, inputs):
        return self.outputs

    def _deactivate(self) -> None:
        pass


def with_hair(change):
    return lambda _: Changed(lambda found: found | {"hair": change(found["hair"])})


def test_the_reference_proves_itself():
    proof = prove(sample())
    assert proof.passed, proof.failures()
    proof.require()
    assert {(row.role, row.output) for row in proof.rows} == {("segmenter", n) for n in ("features", "hair", "marks")}
    assert {row.output: row.compared for row in proof.rows}["hair"] == 64 * 96
    assert {end.metric: end.change for end in proof.ends} == {"dice": 0, "hair_count": 0, "median_width": 0}
    kept = json.loads(proof.to_json())
    assert (kept["passed"], kept["backend"], kept["bundle"]) == (True, "onnxruntime", "sample/1+000000000000")


def test_the_factory_bundle_proves_itself_by_its_end_figures_too():
    proof = prove(read_bundle(FACTORY))
    assert proof.passed, proof.failures()
    assert {end.metric for end in proof.ends if end.role == "segmenter"} == set(ENDS)


def test_the_worst_place_is_told():
    def spoilt(hair):
        hair = hair.copy()
        hair[0, 0, 7, 9] += np.float32(2e-3)
        return hair

    proof = prove(sample(), make_backend=with_hair(spoilt))
    row = next(row for row in proof.rows if row.output == "hair")
    assert not proof.passed
    assert (row.case, row.place) == (0, (0, 0, 7, 9))
    assert row.max_abs == pytest.approx(2e-3, rel=1e-3)
    assert row.used == pytest.approx(20, rel=1e-2)
    assert "[0, 0, 7, 9]" in proof.failures()[0]
    with pytest.raises(BundleError, match="hair"):
        proof.require()


def test_the_relative_part_of_a_tolerance_counts():
    bundle = sample()
    off = lambda _: Changed(lambda found: found | {"features": found["features"] * np.float32(1.001)})  # noqa: E731
    assert not prove(bundle, make_backend=off).passed
    role = bundle.manifest.roles.segmenter
    wide = tuple(Tolerance(output=n, absolute=1e-4, relative=2e-3) for n in ("features", "hair", "marks"))
    roles = Roles(segmenter=role.model_copy(update={"golden": role.golden.model_copy(update={"tolerances": wide})}))
    assert prove(bundle_of(roles, dict(bundle.content)), make_backend=off).passed


def test_an_end_figure_fails_where_the_tensors_pass():
    bundle = sample()
    role = bundle.manifest.roles.segmenter
    blind = tuple(Tolerance(output=n, absolute=1.0) for n in ("features", "hair", "marks"))
    roles = Roles(segmenter=role.model_copy(update={"golden": role.golden.model_copy(update={"tolerances": blind})}))
    proof = prove(bundle_of(roles, dict(bundle.content)), make_backend=with_hair(lambda hair: hair * np.float32(0.2)))
    assert all(row.passed for row in proof.rows)
    changes = {end.metric: end for end in proof.ends}
    assert changes["dice"].change == 1
    assert changes["hair_count"].change == 1
    assert changes["median_width"].change is None  # one has a width, the other no hair
    assert not proof.passed
    assert not any(end.passed for end in proof.ends)
    assert json.loads(proof.to_json())["ends"][2]["change"] is None


@pytest.mark.parametrize(
    ("bundle", "backend", "message"),
    [
        (lambda: sample(tolerances=("features", "hair")), None, "no tolerance"),
        (lambda: sample(tolerances=("features", "hair", "marks", "extra")), None, "does not hold it"),
        (lambda: sample(data=b"PK\3\4 damaged"), None, "not golden data"),
        (lambda: sample(end={"charm": 1.0}), None, "no such end figure"),
        (lambda: sample(end={"dice": 0.1, "charm": 1.0}), None, "no such end figure"),
        (sample, lambda _: Changed(lambda found: {k: v for k, v in found.items() if k != "marks"}), "does not give it"),
        (sample, with_hair(lambda hair: hair[:, :, 1:]), "shape"),
        (sample, with_hair(lambda hair: np.where(hair > 0.5, np.float32(np.nan), hair)), "not finite"),
        (sample, with_hair(lambda hair: np.where(hair > 0.5, np.float32(np.inf), hair)), "not finite"),
        (sample, lambda _: OnnxBackend(b"no network"), "cannot load"),
        (sample, lambda _: Changed(lambda _: 1 / 0), "ZeroDivisionError"),
    ],
    ids=[
        "an output without tolerance",
        "a tolerance without output",
        "damaged golden data",
        "an end figure that nobody knows",
        "one of two that nobody knows",
        "a missing output",
        "another shape",
        "NaN",
        "infinity",
        "a network that does not load",
        "a backend that breaks",
    ],
)
def test_what_cannot_be_compared_has_failed(bundle, backend, message):
    proof = prove(bundle(), make_backend=backend)
    assert not proof.passed
    assert any(message in line for line in proof.failures()), proof.failures()
    json.loads(proof.to_json())


def test_golden_data_without_a_promised_output_fails():
    case = GoldenCase({"picture": np.zeros((1, 64, 96, 3), np.uint8)}, {"hair": np.zeros((1, 1, 64, 96), np.float32)})
    proof = prove(sample(data=pack([case]), tolerances=("hair",), end={}))
    assert not proof.passed
    assert {row.output for row in proof.rows if not row.passed} >= {"marks", "features"}


def test_a_golden_input_under_another_name_fails():
    cases = golden_data.unpack(golden(), "x")
    renamed = pack([GoldenCase({"image": case.inputs["picture"]}, case.outputs) for case in cases])
    assert any("failed" in line for line in prove(sample(data=renamed)).failures())


def test_nothing_to_compare_is_a_failure():
    assert not prove(sample(), precision="int8").passed
    assert not prove(sample(), roles=["severity"]).passed
    assert not prove(sample(), roles=[]).passed
    assert "nothing was compared" in prove(sample(), precision="int8").failures()[0]


def test_a_variant_is_held_to_its_own_tolerances():
    wide = tuple(Tolerance(output=n, absolute=0.1) for n in ("features", "hair", "marks"))
    bundle = sample(variants=(Variant(precision="int8", model=MODEL, tolerances=wide),))
    off = with_hair(lambda hair: hair + np.float32(0.01))
    proof = prove(bundle, precision="int8", make_backend=off)
    assert proof.passed, proof.failures()
    assert proof.precision == "int8"
    assert not prove(bundle, make_backend=off).passed
    strict = sample(variants=(Variant(precision="int8", model=MODEL, tolerances=wide, end={"median_width": 0.0}),))
    slightly = prove(strict, precision="int8", make_backend=with_hair(lambda hair: hair * np.float32(0.95)))
    assert {end.metric: end.allowed for end in slightly.ends} == ENDS | {"median_width": 0.0}
    assert not next(end for end in slightly.ends if end.metric == "median_width").passed


def test_grades_that_change_are_counted():
    bundle = severity()
    assert prove(bundle, make_backend=lambda _: Answers(probabilities=ROWS)).passed
    flipped = ROWS.copy()
    flipped[1] = (0.1, 0.2, 0.3, 0.4)
    proof = prove(bundle, make_backend=lambda _: Answers(probabilities=flipped))
    assert [(end.metric, end.change) for end in proof.ends] == [("severity", 0.5)]
    assert all(row.passed for row in proof.rows)
    assert not proof.passed


def test_a_failing_backend_is_closed():
    made = []

    def make(_):
        made.append(Changed(lambda _: (_ for _ in ()).throw(InferenceError("gone"))))
        return made[-1]

    assert not prove(sample(), make_backend=make).passed
    assert not made[0].active
    assert not made[0].inner.active


@pytest.fixture(scope="module")
def fonts():
    plot([prove(sample())])  # matplotlib keeps the files of its fonts open for good


@pytest.mark.usefixtures("fonts")
def test_a_report_keeps_the_numbers_and_shows_them(tmp_path):
    good, bad = prove(sample()), prove(sample(), make_backend=with_hair(lambda hair: hair[:, :, 1:]))
    write_report(tmp_path / "report", [good, bad])
    numbers = [json.loads(line) for line in (tmp_path / "report" / "proof.json").read_text().splitlines()]
    assert [one["passed"] for one in numbers] == [True, False]
    assert numbers[0]["rows"][1]["max_abs"] <= 1e-4
    page = (tmp_path / "report" / "proof.md").read_text()
    assert "shape" in page
    assert "median_width" in page
    picture = (tmp_path / "report" / "proof.png").read_bytes()
    assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape[2] == 3
    (tmp_path / "file").write_text("")
    with pytest.raises(TrichoscopeError, match="cannot be made a folder"):
        write_report(tmp_path / "file" / "report", [good])
    with pytest.raises(TrichoscopeError, match="no proof"):
        write_report(tmp_path / "none", [])
    assert not (tmp_path / "none").exists()


def test_proving_needs_nothing_of_the_workstation():
    code = (
        "import sys; from runtime.bundles.proof import prove; from runtime.bundles.reader import FACTORY, read_bundle; "
        "assert prove(read_bundle(FACTORY), roles=['segmenter']).passed; "
        "print([m for m in ('torch', 'onnx', 'sklearn', 'matplotlib', 'export') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
