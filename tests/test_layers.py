"""The plan of the house, held against the code: layers, file sizes, and what the device side may need."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAYERS = ("device", "calib", "runtime", "export")
WORKSTATION = ("torch", "onnx", "onnxslim", "sklearn", "skl2onnx")


def test_each_layer_imports_only_those_below_it():
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_device_side_imports_without_the_workstation_libraries():
    # a child process whose finder refuses them, so that it also fails where they happen to be installed
    program = f"""
import importlib, pkgutil, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {WORKSTATION!r}:
            raise ModuleNotFoundError(f"the device side must not need {{name}}")
sys.meta_path.insert(0, Refuse())
seen = 0
for layer in ("device", "calib", "runtime"):
    package = importlib.import_module(layer)
    for module in pkgutil.walk_packages(package.__path__, layer + ".", onerror=lambda name: exec("raise")):
        importlib.import_module(module.name)
        seen += 1
print(seen)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd="/", capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


def test_every_file_has_one_subject_and_opens_with_it():
    sources = [p for layer in LAYERS for p in (ROOT / layer).rglob("*.py")]
    assert len(sources) > 20
    long = [f"{p.relative_to(ROOT)}: {n}" for p in sources if (n := len(p.read_text().splitlines())) > 420]
    assert not long, f"over about 400 lines, asking to be two: {long}"
    silent = [str(p.relative_to(ROOT)) for p in sources if not p.read_text().startswith('"""')]
    assert not silent, f"without an opening paragraph: {silent}"
    vague = [str(p.relative_to(ROOT)) for p in sources if any(w in p.stem for w in ("util", "helper", "manager", "common", "misc"))]
    assert not vague, f"names that say nothing: {vague}"


def test_nothing_committed_names_a_machine_or_a_registry():
    words = ["/work" + "/", "pypi" + ".org", "npm" + "js.org", "file" + "://"]
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    files = listed.stdout.splitlines() if listed.returncode == 0 else []
    bad = []
    for name in files:
        path = ROOT / name
        if path.suffix in {".png", ".jpg", ".onnx"} or "vendor" in path.parts or not path.is_file():
            continue
        text = path.read_text(errors="ignore")
        bad += [f"{name}: {word}" for word in words if word in text]
    assert not bad, bad
