import importlib
import json
import pkgutil

import pytest
from typer.testing import CliRunner

import export
from export.cli import LIBRARIES, app
from runtime import __version__

pytestmark = pytest.mark.export


def test_version():
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout == f"trichoscope-export {__version__}\n"


def test_the_extra_brings_every_library():
    result = CliRunner().invoke(app, ["libraries", "--json"])
    found = json.loads(result.stdout)
    assert set(found) == set(LIBRARIES)
    assert result.exit_code == 0, f"missing: {[k for k, v in found.items() if v is None]}"


def test_every_module_of_the_workstation_imports():
    names = [m.name for m in pkgutil.walk_packages(export.__path__, "export.")]
    assert "export.cli" in names
    for name in names:
        importlib.import_module(name)


def test_numpy_and_torch_agree():
    # the workstation's stack is only usable where the two share memory: a mismatch of versions shows here first
    numpy, torch = importlib.import_module("numpy"), importlib.import_module("torch")
    array = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
    assert torch.from_numpy(array).sum().item() == array.sum()
