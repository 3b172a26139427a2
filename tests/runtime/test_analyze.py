"""`trichoscope analyze` as a person or a script calls it: its lines, its files, and what it says of bad input."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest

from runtime.analysis import pooled
from runtime.analysis.measurement import Measurement, json_schema
from tests.runtime.better_samples import teacher_role, write_better
from tests.runtime.bundle_samples import MODEL, write_sample
from tests.runtime.drawn import FIVE, hairs_on_skin, skin
from tests.runtime.refiner_samples import near_points_is_hair, refiner_role

PROGRAM = Path(sys.executable).with_name("trichoscope")


def called(*arguments, cwd):
    return subprocess.run([*map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=100, check=False)


def analyze(*arguments, cwd, classical=True):
    """The classical segmenter finds the hairs of these tests, where they are not about segmenters: no network has learnt drawn ones."""
    return called(PROGRAM, "analyze", *arguments, *(["--segmenter", "classical"] if classical else []), cwd=cwd)


def analyze_after(change, *arguments, cwd):
    """The same in a process whose program was changed before by some lines of Python."""
    program = f"import sys\n{change}\nfrom runtime.cli import main\nsys.argv[0] = 'trichoscope'\nmain()"
    return called(sys.executable, "-c", program, "analyze", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two pictures with hair, one of bald skin, and files that are no pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    picture, mask = hairs_on_skin(FIVE)
    cv2.imwrite(str(folder / "five.png"), picture)
    cv2.imwrite(str(folder / "more.jpg"), hairs_on_skin(FIVE, seed=2)[0])
    cv2.imwrite(str(folder / "bald.png"), skin())
    (folder / "notes.txt").write_text("not a picture")
    masks = folder / "masks"
    masks.mkdir()
    cv2.imwrite(str(masks / "five_mask.png"), mask.astype(np.uint8) * 255)
    (folder / "scales.csv").write_text("image,um_per_px\nfive.png,8.0\nbald.png,8.0\n")
    write_sample(folder / "dark")
    return folder


def test_a_line_for_each_picture_in_the_order_given_and_true_to_its_schema(folder):
    done = analyze("more.jpg", "bald.png", "five.png", "--um-per-px", "8", "--json", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [m["image"] for m in lines] == ["more.jpg", "bald.png", "five.png"]
    for line in lines:
        jsonschema.validate(line, json_schema())
        Measurement.model_validate(line)
    more, bald, five = lines
    for m in (more, five):
        assert m["hair_count"] == 5
        assert m["scale"] == {"um_per_px": 8.0, "um_per_px_std": None, "source": "given"}
        assert sorted(h["diameter_px"] for h in m["hairs"]) == pytest.approx([4, 5, 6, 8, 9], abs=0.8)
        assert m["area_cm2"] == pytest.approx(640 * 480 * 8e-4**2)
        assert max(np.diff([p[:2] for p in m["hairs"][0]["points"]], axis=0).__abs__().max(0)) <= 8
        assert m["paper"]["thickness_px"]["n"] > 0
    assert bald["hair_count"] == bald["follicle_count"] == 0
    assert bald["hairs"] == []
    assert bald["diameter_px"] == {"n": 0, "mean": None, "median": None, "p25": None, "p75": None, "sd": None}


def test_without_a_scale_nothing_is_in_micrometres(folder):
    done = analyze("five.png", "--json", cwd=folder)
    m = json.loads(done.stdout)
    assert m["scale"] == {"um_per_px": None, "um_per_px_std": None, "source": "none"}
    for key in ("area_cm2", "density_per_cm2", "follicle_density_per_cm2", "diameter_um", "terminal_vellus"):
        assert m[key] is None
    assert m["cumulative_thickness_mm_per_cm2"] is m["interfollicular_distance_um"] is m["diameter_diversity"]["below_cutoff_share"] is None
    assert m["diameter_diversity"]["cv"] > 0, "that needs no scale"
    assert m["diameter_px"]["n"] == 5
    assert all(h["diameter_um"] is None for h in m["hairs"])


def test_a_picture_absent_from_the_table_of_scales_is_measured_without_one(folder):
    done = analyze("five.png", "more.jpg", "--um-per-px", "scales.csv", "--json", cwd=folder)
    assert done.returncode == 0
    assert "more.jpg" in done.stderr
    sources = [json.loads(line)["scale"]["source"] for line in done.stdout.splitlines()]
    assert sources == ["given", "none"]


def test_given_masks_are_used_instead_of_segmenting(folder):
    done = analyze("five.png", "--use-masks", "masks", "--json", cwd=folder, classical=False)
    assert done.stderr == ""
    m = json.loads(done.stdout)
    assert m["models"]["segmenter"] == "given"
    assert m["models"].keys() == {"segmenter", "severity", "conditions"}  # the program's own bundle grades all the same
    assert m["hair_count"] == 5
    absent = analyze("more.jpg", "five.png", "--use-masks", "masks", "--json", cwd=folder)
    assert absent.returncode == 1
    assert "more_mask.png: no such file" in absent.stderr
    assert len(absent.stdout.splitlines()) == 1


def test_masks_overlays_and_csv_are_written(folder, tmp_path):
    done = analyze(folder, "--masks", tmp_path / "m", "--overlay", tmp_path / "o", "--csv", tmp_path / "t.csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "five.png" in done.stdout, "a table for people"
    assert "—" in done.stdout, "what could not be had is a dash"
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["bald_mask.png", "five_mask.png", "more_mask.png"]
    mask = cv2.imread(str(tmp_path / "m" / "five_mask.png"), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(mask)) == {0, 255}
    truth = hairs_on_skin(FIVE)[1]
    assert 2 * (truth & (mask > 0)).sum() / (truth.sum() + (mask > 0).sum()) > 0.9
    drawn = cv2.imread(str(tmp_path / "o" / "five_overlay.png"))
    assert drawn.shape == (480, 640, 3)
    assert np.abs(drawn.astype(int) - cv2.imread(str(folder / "five.png"))).max() > 100
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert [Path(r["image"]).name for r in rows] == ["bald.png", "five.png", "more.jpg"]
    assert rows[1]["hair_count"] == "5"
    assert rows[1]["density_per_cm2"] == ""


def test_a_batch_goes_on_past_what_cannot_be_measured(folder, tmp_path):
    whole = (folder / "more.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    cv2.imwrite(str(tmp_path / "dot.png"), np.zeros((1, 1), np.uint8))
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((480, 640), np.uint8))
    good = folder / "five.png"
    names = ["absent.png", "cut.jpg", "text.png", "dot.png", "black.png", good]
    done = analyze(*names, "--json", cwd=tmp_path)
    assert done.returncode == 1
    complaints = done.stderr.splitlines()
    assert [c.split(":")[0] for c in complaints] == names[:4]
    assert all(c.count(": ") >= 2 for c in complaints), "NAME: what: remedy"
    black, five = map(json.loads, done.stdout.splitlines())
    assert (black["hair_count"], black["quality"]["ok"]) == (0, False)
    assert black["quality"]["reasons"]
    assert five["hair_count"] == 5


def test_grey_sixteen_bit_and_alpha_pictures_are_measured_alike(folder, tmp_path):
    picture = cv2.imread(str(folder / "five.png"))
    cv2.imwrite(str(tmp_path / "grey.png"), cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    cv2.imwrite(str(tmp_path / "deep.png"), picture.astype(np.uint16) << 8)
    cv2.imwrite(str(tmp_path / "alpha.png"), cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA))
    done = analyze("grey.png", "deep.png", "alpha.png", "--json", cwd=tmp_path)
    assert [json.loads(line)["hair_count"] for line in done.stdout.splitlines()] == [5, 5, 5], done.stderr


def test_two_pictures_of_one_stem_do_not_overwrite_each_other(folder, tmp_path):
    cv2.imwrite(str(tmp_path / "five.jpg"), cv2.imread(str(folder / "five.png")))
    done = analyze(folder / "five.png", tmp_path / "five.jpg", "--json", "--masks", tmp_path / "m", cwd=tmp_path)
    assert done.returncode == 1
    assert "same stem" in done.stderr
    assert len(done.stdout.splitlines()) == 1
    both = analyze(folder / "five.png", tmp_path / "five.jpg", "--json", cwd=tmp_path)
    assert both.returncode == 0, "without files to write there is nothing to collide"


def test_the_pictures_of_each_folder_are_pooled_as_one_site(folder, tmp_path):
    for site, pictures in {"vertex": ("five.png", "more.jpg"), "frontal": ("five.png", "bald.png")}.items():
        (tmp_path / site).mkdir()
        for name in pictures:
            shutil.copy(folder / name, tmp_path / site)
    done = analyze("vertex", "frontal", "--pool", "--um-per-px", "8", "--json", "--csv", "t.csv", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["schema"] for line in lines] == ["trichoscope/measurement/1"] * 4 + ["trichoscope/pooled/1"] * 2
    for line in lines[4:]:
        jsonschema.validate(line, pooled.json_schema())
        pooled.Pooled.model_validate(line)
    vertex, frontal = lines[4:]
    assert (vertex["name"], vertex["hair_count"], len(vertex["fields"])) == ("vertex", 10, 2)
    assert (frontal["name"], frontal["hair_count"], len(frontal["fields"])) == ("frontal", 5, 2)
    low, high = vertex["density_per_cm2"]["interval_95"]
    assert low <= vertex["density_per_cm2"]["value"] < high
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as table:
        assert len(list(csv.DictReader(table))) == 4
    with (tmp_path / "t_pooled.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert [(row["name"], row["fields"]) for row in rows] == [("vertex", "2"), ("frontal", "2")]
    assert float(rows[0]["density_per_cm2_high_95"]) == pytest.approx(high)


def test_a_pool_tells_what_was_left_out(folder, tmp_path):
    done = analyze(folder / "five.png", folder / "more.jpg", "--pool", "--um-per-px", folder / "scales.csv", "--csv", "t.csv", cwd=tmp_path)
    assert done.returncode == 0
    assert f"{folder}: 1 field pooled" in done.stdout
    assert f"{folder / 'more.jpg'}: left out: no scale" in done.stdout
    assert "a single field" in done.stdout
    assert "95 % interval" in done.stdout
    without = analyze("five.png", "more.jpg", "--pool", "--json", cwd=folder)
    last = json.loads(without.stdout.splitlines()[-1])
    assert (last["name"], last["hair_count"], last["density_per_cm2"]) == (".", 10, None)
    assert any(note.startswith("no scale") for note in last["notes"])
    absent = analyze("absent.png", "--pool", "--json", cwd=folder)
    assert (absent.returncode, absent.stdout) == (1, ""), "of no measured picture there is no pool"


def test_the_cutoff_is_chosen_by_its_name(folder):
    lines = [
        json.loads(analyze("five.png", "--um-per-px", "5.5", "--json", "--cutoff", name, cwd=folder).stdout)["terminal_vellus"]
        for name in ("trichoscopy", "trichoscan")
    ]
    assert [(kinds["profile"], kinds["cutoff_um"], kinds["vellus"]) for kinds in lines] == [("trichoscopy", 30, 2), ("trichoscan", 40, 3)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--um-per-px", "0"], "no microscope's scale"),
        (["--um-per-px", "nan"], "no microscope's scale"),
        (["--um-per-px", "1e6"], "no microscope's scale"),
        (["--cutoff", "mine"], "'trichoscopy', 'trichoscan'"),
        (["--um-per-px", "none.csv"], "neither a number"),
        (["--use-masks", "nowhere"], "no such folder of masks"),
        (["--masks", "notes.txt"], "cannot be made a folder"),
        (["--segmenter", "best"], "'learned', 'classical'"),
        (["--bundle", "nowhere"], "nowhere: no such bundle"),
        (["--bundle", "masks"], "manifest.json"),
        (["--bundle", "dark", "--segmenter", "classical"], "leave one of them out"),
        (["--bundle", "dark", "--use-masks", "masks"], "leave one of them out"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_measured(folder, arguments, says):
    done = analyze("five.png", "--json", *arguments, cwd=folder, classical=False)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stdout == ""


def test_the_result_names_the_segmenter_that_found_its_hair(folder, tmp_path):
    learned = analyze("five.png", "--bundle", "dark", "--masks", tmp_path, "--json", cwd=folder, classical=False)
    assert (learned.returncode, learned.stderr) == (0, "")
    m = json.loads(learned.stdout)
    assert m["models"]["segmenter"].startswith("dark/1+")
    assert m["timing_ms"]["segment"] > 0
    assert m["empty_follicle_count"] is not None  # only a network sees openings
    mask = cv2.imread(str(tmp_path / "five_mask.png"), cv2.IMREAD_UNCHANGED) > 0
    truth = hairs_on_skin(FIVE)[1]
    assert 2 * (truth & mask).sum() / (truth.sum() + mask.sum()) > 0.85
    classical = json.loads(analyze("five.png", "--json", cwd=folder).stdout)
    assert classical["models"] == {"segmenter": "classical/1"}
    assert classical["empty_follicle_count"] is None


def test_a_better_mask_is_named_and_one_that_was_passed_over_told(folder, tmp_path):
    nothing = near_points_is_hair(iou=(0.9, 0.2, 0.4))  # its first mask is empty
    bundle = write_better(tmp_path / "better", teacher=teacher_role(), refiner=refiner_role(), refining=nothing)
    done = analyze("five.png", "--bundle", tmp_path / "better", "--json", "--csv", tmp_path / "all.csv", cwd=folder, classical=False)
    assert done.returncode == 0
    m = json.loads(done.stdout)
    assert m["segmentation"]["mask"] == "teacher"
    assert m["models"] == {"segmenter": f"{bundle.id}&classical/1", "teacher": bundle.id}
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("five.png: "))
    assert line == f"five.png: measured on the teacher mask: {m['segmentation']['passed_over']}"
    with (tmp_path / "all.csv").open() as file:
        assert [row["mask"] for row in csv.DictReader(file)] == ["teacher"]


def test_a_damaged_bundle_that_was_named_is_an_error(folder, tmp_path):
    write_sample(tmp_path / "dark")
    (tmp_path / "dark" / MODEL).write_bytes(b"damaged")
    done = analyze(folder / "five.png", "--bundle", "dark", "--json", cwd=tmp_path, classical=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"dark/{MODEL}: ")
    assert len(done.stderr.splitlines()) == 1


def test_without_the_programs_own_bundle_the_fall_back_is_told_in_one_line(folder):
    change = "from pathlib import Path; from runtime.commands import instruments; instruments.FACTORY = Path('/absent')"
    done = analyze_after(change, "five.png", "more.jpg", "--json", cwd=folder)
    assert done.returncode == 0
    assert (
        done.stderr
        == "the classical mask is used instead of the learned one: /absent: no such bundle: name a folder with a manifest.json, "
        "or a bundle in a single file\n"
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [m["models"]["segmenter"] for m in lines] == ["classical/1"] * 2
    assert [m["hair_count"] for m in lines] == [5, 5]


FAILING = """
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
infer, calls = OnnxBackend._infer, []
def fail(self, inputs):
    calls.append(1)
    if len(calls) > 5:  # trying it out, and one picture with its three mirror images
        raise InferenceError("no memory for the network")
    return infer(self, inputs)
OnnxBackend._infer = fail
"""


def test_a_picture_on_which_the_network_fails_gets_the_classical_mask(folder):
    done = analyze_after(FAILING, "five.png", "more.jpg", "--bundle", "dark", "--json", cwd=folder)
    assert done.returncode == 0
    five, more = [json.loads(line) for line in done.stdout.splitlines()]
    assert five["models"]["segmenter"].startswith("dark/1+")
    assert more["models"]["segmenter"] == "classical/1"
    (line,) = done.stderr.splitlines()
    assert "no memory for the network" in line


@pytest.mark.parametrize("arguments", [["--help"], ["five.png", "--segmenter", "classical", "--json"]])
def test_networks_are_loaded_and_bundles_read_only_where_they_are_used(folder, arguments):
    """With given masks a bundle's other roles are still of use; the classical mask alone needs nothing."""
    change = (
        "import atexit; atexit.register(lambda: print('onnxruntime' in sys.modules, file=sys.stderr)); "
        "from runtime.bundles import reader; reader._read = reader.ArchiveReader = None"
    )
    done = analyze_after(change, *arguments, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "False\n")


@pytest.mark.parametrize(("of", "code"), [([], json_schema), (["measurement"], json_schema), (["pooled"], pooled.json_schema)])
def test_the_schema_that_is_printed_is_that_of_the_code(of, code):
    done = subprocess.run([PROGRAM, "schema", *of], capture_output=True, text=True, timeout=60, check=True)
    schema = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema == code()
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == set(schema["properties"]), "every key is there, null or not"
