import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.bundles.archive import BLOCK, header, pack
from runtime.bundles.errors import BundleError
from runtime.bundles.reader import read_bundle
from runtime.bundles.writer import add_signature, check_target, write_files
from tests.runtime.bundle_samples import GOLDEN, MODEL, write_sample
from tests.runtime.signing_samples import KEY, TRUSTED, archive_of, sample_files, signed, unpacked


def test_folder_and_single_file_are_the_same_bundle(tmp_path):
    folder = signed(tmp_path / "dark")
    file = tmp_path / "dark.bundle"
    file.write_bytes(archive_of(folder))
    one, other = read_bundle(folder, TRUSTED), read_bundle(file, TRUSTED)
    assert (one.id, one.manifest, one.content, one.signature) == (other.id, other.manifest, other.content, other.signature)


def test_a_single_file_unpacks_with_any_tar(tmp_path):
    folder = signed(tmp_path / "dark")
    with tarfile.open(fileobj=io.BytesIO(archive_of(folder))) as archive:
        found = {member.name: archive.extractfile(member).read() for member in archive.getmembers()}
        assert all(member.isreg() and member.mode == 0o644 and member.mtime == 0 for member in archive.getmembers())
    assert found == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert list(found)[:2] == ["manifest.json", "manifest.sig"]


def test_a_bundle_is_written_as_a_single_file_where_its_name_says_so(tmp_path):
    made = write_sample(tmp_path / "dark.bundle", release=4)
    assert (tmp_path / "dark.bundle").is_file()
    assert read_bundle(tmp_path / "dark.bundle").id == made.id
    write_sample(tmp_path / "dark.bundle", release=5)
    assert read_bundle(tmp_path / "dark.bundle").manifest.release == 5
    assert [path.name for path in tmp_path.iterdir()] == ["dark.bundle"]
    (tmp_path / "folder.bundle").mkdir()
    with pytest.raises(BundleError, match="exists and is no bundle in a single file"):
        check_target(tmp_path / "folder.bundle", "dark")


@pytest.mark.parametrize("name", ["dark", "dark.bundle"])
def test_a_bundle_is_signed_in_its_place(tmp_path, name):
    from runtime.bundles.signing import sign

    made = write_sample(tmp_path / name)
    for _ in range(2):  # again: the old signature is replaced
        assert add_signature(tmp_path / name, lambda manifest: sign(manifest, KEY)).id == made.id
        assert read_bundle(tmp_path / name, TRUSTED).signed_by
        assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_full_disk_leaves_the_single_file_that_was_there(tmp_path, monkeypatch):
    from runtime.bundles import writer

    write_sample(tmp_path / "dark.bundle", release=1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_write", full)
    with pytest.raises(BundleError, match="No space left"):
        write_sample(tmp_path / "dark.bundle", release=2)
    monkeypatch.undo()
    assert read_bundle(tmp_path / "dark.bundle").manifest.release == 1
    assert [path.name for path in tmp_path.iterdir()] == ["dark.bundle"]


def test_what_no_bundle_may_hold_is_not_written(tmp_path):
    files = dict(sample_files())
    manifest = files.pop("manifest.json")
    with pytest.raises(BundleError, match="SHA-256"):
        write_files(tmp_path / "dark.bundle", manifest, None, [GOLDEN, MODEL], files | {MODEL: files[MODEL][:-1] + b"?"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [0, 1, BLOCK, 64 * 1024 * 1024])
def test_a_header_is_what_python_reads(size):
    member = tarfile.TarInfo.frombuf(header("manifest.json", size), "ascii", "strict")
    assert (member.name, member.size, member.type) == ("manifest.json", size, tarfile.REGTYPE)


SAMPLE = None


def _sample(folder):
    global SAMPLE
    if SAMPLE is None:
        SAMPLE = archive_of(signed(folder / "dark"))
    return SAMPLE


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    return folder / "fuzzed.bundle", _sample(folder)


@given(place=st.floats(min_value=0, max_value=1), change=st.integers(min_value=1, max_value=255))
def test_any_changed_byte_of_a_signed_single_file_is_seen(archive, place, change):
    path, data = archive
    at = min(len(data) - 1, int(place * len(data)))
    path.write_bytes(data[:at] + bytes([data[at] ^ change]) + data[at + 1 :])
    with pytest.raises(BundleError):
        read_bundle(path, TRUSTED)


@given(at=st.integers(min_value=0), more=st.binary(max_size=700), cut=st.integers(min_value=0, max_value=2000))
def test_any_other_file_is_refused(archive, at, more, cut):
    path, data = archive
    at %= len(data) + 1
    changed = data[:at] + more + data[at + cut :]
    path.write_bytes(changed)
    if changed == data:
        assert read_bundle(path, TRUSTED)
    else:
        with pytest.raises(BundleError):
            read_bundle(path, TRUSTED)


def test_nothing_is_a_bundle_without_a_manifest(tmp_path):
    (tmp_path / "a.bundle").write_bytes(pack([(MODEL, b"x")]))
    with pytest.raises(BundleError, match=r"where 'manifest.json' should be"):
        read_bundle(tmp_path / "a.bundle")
    (tmp_path / "b.bundle").write_bytes(pack([]))
    with pytest.raises(BundleError, match="ends before"):
        read_bundle(tmp_path / "b.bundle")
    assert read_bundle(unpacked(tmp_path / "c")).signature is None
