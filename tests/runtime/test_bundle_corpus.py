"""Every bad bundle is refused in its own words, nothing is written outside the slots, and the bundle that serves goes on serving."""

import hashlib
from pathlib import Path

import pytest

from runtime.bundles.errors import BundleError
from runtime.bundles.trial import ModelStore
from tests.runtime.bad_bundles import BAD
from tests.runtime.bad_graphs import BAD_GRAPHS
from tests.runtime.bundle_samples import MODEL, forge
from tests.runtime.signing_samples import SETTINGS, archive_of, sign_folder, signed, unpacked


def tree(folder: Path) -> dict[str, str]:
    """Everything below a folder and what it is: the hash of a file, the target of a link."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            kind = f"link to {path.readlink()}"
        elif path.is_file():
            kind = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            kind = "folder" if path.is_dir() else "special"
        found[str(path.relative_to(folder))] = kind
    return found


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """A device on which release 5 of the sample serves, and has served well."""
    folder = tmp_path_factory.mktemp("device")
    store = ModelStore(folder / "state" / "models", SETTINGS)
    slot, _ = store.install(signed(folder / "sent" / "five", release=5))
    store.activate(slot)
    store.begin_trial()
    assert store.choose().slot == slot
    store.confirm()
    return folder, slot


def _refused(device, tmp_path, bundle, message):
    folder, slot = device
    before, outside = tree(folder), tree(tmp_path)
    store = ModelStore(folder / "state" / "models", SETTINGS)
    with pytest.raises(BundleError, match=message) as refused:
        store.install(bundle)
    assert str(refused.value).count(": ") >= 2  # what, why, and what to do
    assert tree(folder) == before
    assert tree(tmp_path) == outside
    chosen = ModelStore(folder / "state" / "models", SETTINGS).choose()
    assert (chosen.source, chosen.slot, chosen.notice, chosen.on_trial) == ("slot", slot, None, False)


@pytest.mark.parametrize("what", BAD)
def test_a_bad_bundle_is_refused(device, tmp_path, what):
    make, message = BAD[what]
    _refused(device, tmp_path, make(unpacked(tmp_path / "sent" / "bad", release=9)), message)


@pytest.mark.parametrize("what", BAD_GRAPHS)
def test_a_bundle_with_a_bad_network_is_refused(device, tmp_path, what):
    model, message = BAD_GRAPHS[what]
    folder = unpacked(tmp_path / "sent" / "bad", release=9)
    forge(folder, {MODEL: model})
    _refused(device, tmp_path, sign_folder(folder), message)


@pytest.mark.parametrize("form", ["folder", "file"])
def test_the_same_bundle_is_taken_where_nothing_is_bad(tmp_path, form):
    folder = signed(tmp_path / "sent" / "good", release=9)
    path = folder
    if form == "file":
        path = tmp_path / "good.bundle"
        path.write_bytes(archive_of(folder))
    store = ModelStore(tmp_path / "models", SETTINGS)
    slot, bundle = store.install(path)
    assert bundle.manifest.release == 9
    assert {p.name for p in (tmp_path / "models" / "slots").iterdir()} == {slot}
    assert tree(tmp_path / "models" / "slots" / slot) == tree(folder)


def test_the_corpus_is_as_large_as_promised():
    assert len(BAD) + len(BAD_GRAPHS) >= 40
