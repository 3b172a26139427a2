"""Bundles that no device may take: what an enemy, a broken disk or a maker in a hurry could send. Each with words of its refusal.

A maker is given the sample bundle as a folder, unsigned, of a release that would be taken; it returns what to install. Where the content
is bad, the enemy has the key: the signature is good.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from runtime.bundles.archive import BLOCK, header, pack
from runtime.bundles.manifest import MAX_MANIFEST_BYTES
from runtime.bundles.signing import sign
from tests.runtime.bundle_samples import GOLDEN, MODEL, changed_manifest, forge
from tests.runtime.signing_samples import KEY, OTHER_KEY, archive_of, sign_folder

Maker = Callable[[Path], Path]


def _then(change: Callable[[Path], object]) -> Maker:
    """`change` before the signing: the signature is good."""

    def make(folder: Path) -> Path:
        change(folder)
        return sign_folder(folder)

    return make


def _after(change: Callable[[Path], object]) -> Maker:
    """`change` after the signing."""

    def make(folder: Path) -> Path:
        sign_folder(folder)
        change(folder)
        return folder

    return make


def _archived(change: Callable[[bytes], bytes]) -> Maker:
    """The signed bundle as a single file whose bytes are changed."""

    def make(folder: Path) -> Path:
        path = folder.with_suffix(".bundle")
        path.write_bytes(change(archive_of(sign_folder(folder))))
        return path

    return make


def _signature(**changes: object) -> Maker:
    def change(folder: Path) -> None:
        path = folder / "manifest.sig"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return _after(change)


def _raw_signature(content: bytes) -> Maker:
    return _after(lambda folder: (folder / "manifest.sig").write_bytes(content))


def _without_prefix(folder: Path) -> None:
    text = (folder / "manifest.json").read_bytes()
    said = json.loads((folder / "manifest.sig").read_text())
    (folder / "manifest.sig").write_text(json.dumps(said | {"signature": base64.b64encode(KEY.sign(text)).decode()}))


def _of_another_manifest(folder: Path) -> None:
    (folder / "manifest.sig").write_bytes(sign((folder / "manifest.json").read_bytes() + b" ", KEY))


def _flipped(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)

    return change


def _replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """The model as something that is no plain file."""

    def change(folder: Path) -> None:
        (folder / MODEL).rename(folder.parent / "elsewhere.onnx")
        make(folder / MODEL)

    return change


def _manifest(**changes: object) -> Maker:
    return _then(lambda folder: changed_manifest(folder, **changes))


def _text(content: bytes) -> Maker:
    return _then(lambda folder: (folder / "manifest.json").write_bytes(content))


def _edited(old: bytes, new: bytes) -> Maker:
    def change(folder: Path) -> None:
        path = folder / "manifest.json"
        before = path.read_bytes()
        assert old in before
        path.write_bytes(before.replace(old, new, 1))

    return _then(change)


def _role(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        roles = json.loads((folder / "manifest.json").read_text())["roles"]
        roles["segmenter"] |= changes
        changed_manifest(folder, roles=roles)

    return change


def _with_file(name: str, content: bytes = b"x") -> Maker:
    return _then(lambda folder: forge(folder, {name: content}))


def _listed(*names: str) -> Callable[[Path], None]:
    """Further entries in the manifest, without files."""

    def change(folder: Path) -> None:
        files = json.loads((folder / "manifest.json").read_text())["files"]
        changed_manifest(folder, files=[*files, *({"name": name, "sha256": "0" * 64, "size": 1} for name in names)])

    return change


def _renamed(name: str) -> Callable[[bytes], bytes]:
    """The first entry's name in a single file, its checksum made right again."""
    return lambda data: _patched(data, lambda block: name.encode().ljust(100, b"\0") + block[100:])


def _kind(kind: bytes) -> Callable[[bytes], bytes]:
    return lambda data: _patched(data, lambda block: block[:156] + kind + block[157:])


def _patched(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    block = change(data[:BLOCK])
    block = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:] + data[BLOCK:]


def _usual_tar(data: bytes) -> bytes:
    """As Python's tarfile would write it, with owners, times and extended headers."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in old.getmembers():
            member.pax_headers = {"comment": "hello"}
            new.addfile(member, old.extractfile(member))
    return out.getvalue()


def _zip(data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.getmembers():
            extracted = old.extractfile(member)
            assert extracted is not None
            new.writestr(f"../{member.name}", extracted.read())
    return out.getvalue()


def _locked_zip(data: bytes) -> bytes:
    changed = bytearray(_zip(data))
    for at in range(len(changed)):  # the bit that says "encrypted", in every header
        if changed[at : at + 4] == b"PK\x03\x04":
            changed[at + 6] |= 1
        if changed[at : at + 4] == b"PK\x01\x02":
            changed[at + 8] |= 1
    return bytes(changed)


def _reordered(data: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as old:
        members = [(member.name, extracted.read()) for member in old.getmembers() if (extracted := old.extractfile(member)) is not None]
    return pack([*members[:2], *reversed(members[2:])])


def _twice(data: bytes) -> bytes:
    content = b"other"
    return data[: -2 * BLOCK] + header(MODEL, len(content)) + content + bytes(BLOCK - len(content)) + bytes(2 * BLOCK)


def _padded(data: bytes) -> bytes:
    """A byte hidden behind the manifest, before the next entry."""
    size = int(data[124:135], 8)
    at = BLOCK + size
    assert size % BLOCK
    return data[:at] + b"!" + data[at + 1 :]


def _npz(packed: int = zipfile.ZIP_STORED, /, **arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packed) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=True)
            archive.writestr(name, content.getvalue())
    return out.getvalue()


def _golden(content: bytes) -> Maker:
    return _then(lambda folder: forge(folder, {GOLDEN: content}))


PICTURE = np.zeros((1, 32, 32, 3), np.uint8)
OUTPUTS = {
    "0/out/hair.npy": np.zeros((1, 1, 32, 32), np.float32),
    "0/out/marks.npy": np.zeros((1, 3, 16, 16), np.float32),
    "0/out/features.npy": np.zeros((1, 3), np.float32),
}


def _case(**changes: object) -> bytes:
    arrays: dict[str, object] = {"0/in/picture.npy": PICTURE, **OUTPUTS, **changes}
    return _npz(**{name: array for name, array in arrays.items() if array is not None})  # type: ignore[arg-type]


def _giant_shape() -> bytes:
    """An array of a terabyte, as its header says."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f4", "fortran_order": False, "shape": (2**38,)})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("0/in/picture.npy", content.getvalue() + bytes(64))
    return out.getvalue()


def _bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive, archive.open("0/in/picture.npy", "w") as entry:
        for _ in range(129):
            entry.write(bytes(1024 * 1024))
    return out.getvalue()


def _doubled() -> bytes:
    whole = _case()
    return whole.replace(b"0/out/marks.npy", b"0/out/hair.npy\0")


BAD: dict[str, tuple[Maker, str]] = {
    # who vouches for it
    "unsigned": (lambda folder: folder, "unsigned"),
    "signed by another key": (lambda folder: sign_folder(folder, OTHER_KEY), "signed by the key .* trusted are"),
    "another key's signature under a trusted name": (
        lambda folder: _signature(signature=json.loads(sign((folder / "manifest.json").read_bytes(), OTHER_KEY))["signature"])(folder),
        "signature is not this manifest's",
    ),
    "the signature of another manifest": (_after(_of_another_manifest), "signature is not this manifest's"),
    "a signature made for something else": (_after(_without_prefix), "signature is not this manifest's"),
    "a signature that is no JSON": (_raw_signature(b"-----BEGIN"), "signature cannot be read"),
    "a signature with more to say": (_signature(algorithm="none"), "signature cannot be read"),
    "a signature cut short": (_signature(signature="AAAA"), "signature cannot be read"),
    "a signature of another scheme": (_signature(schema="trichoscope/signature/2"), "signature cannot be read"),
    "a signature with a key twice": (
        _after(lambda folder: (folder / "manifest.sig").write_bytes((folder / "manifest.sig").read_bytes().replace(b"{", b'{"key": "0",'))),
        "signature cannot be read",
    ),
    "an empty signature": (_raw_signature(b""), "signature cannot be read"),
    "a huge signature": (_raw_signature(b" " * 2000), "manifest.sig: 2000 bytes, at most"),
    "a nested signature": (_raw_signature(b"[" * 900), "signature cannot be read"),
    # files
    "a flipped bit in the manifest": (_after(_flipped("manifest.json")), "signature is not this manifest's"),
    "a flipped bit in the model": (_after(_flipped(MODEL)), "segmenter.onnx: its SHA-256"),
    "a flipped bit in the golden data": (_after(_flipped(GOLDEN)), "segmenter.npz: its SHA-256"),
    "a truncated model": (_after(lambda folder: (folder / MODEL).write_bytes((folder / MODEL).read_bytes()[:-7])), "the manifest says"),
    "a longer model": (_after(lambda folder: (folder / MODEL).write_bytes((folder / MODEL).read_bytes() + b"more")), "at most"),
    "a missing model": (_after(lambda folder: (folder / MODEL).unlink()), "segmenter.onnx: No such file"),
    "a missing manifest": (_after(lambda folder: (folder / "manifest.json").unlink()), "manifest.json: No such file"),
    "a link out of the bundle": (_after(_replaced(lambda path: path.symlink_to("../elsewhere.onnx"))), "segmenter.onnx: Too many levels"),
    "a pipe": (_after(_replaced(lambda path: os.mkfifo(path))), "not a plain file"),
    "a folder instead of a file": (_after(_replaced(lambda path: path.mkdir())), "not a plain file"),
    "a bundle that is a pipe": (lambda folder: (os.mkfifo(folder.parent / "pipe"), folder.parent / "pipe")[1], "neither a folder nor"),
    "a bundle that is a device": (lambda _: Path("/dev/zero"), "neither a folder nor"),
    "no bundle at all": (lambda folder: folder / "absent", "no such bundle"),
    # the manifest
    "a path out of the bundle": (_then(_listed("../evil.onnx")), "files.2.name"),
    "an absolute path": (_then(_listed("/etc/cron.d/evil")), "files.2.name"),
    "a hidden name": (_then(_listed(".profile")), "files.2.name"),
    "a name of other letters": (_then(_listed("sеgmenter.onnx")), "files.2.name"),  # with a Cyrillic е
    "names that differ in capitals": (_then(_listed("Segmenter.ONNX")), "capital letters"),
    "a file listed twice": (_then(_listed(MODEL)), "listed twice"),
    "its own signature listed": (_then(_listed("manifest.sig")), "lists itself"),
    "too many files": (_then(_listed(*(f"f{n}.txt" for n in range(64)))), "files: .*at most 64"),
    "a file larger than any may be": (_manifest(files=[{"name": MODEL, "sha256": "0" * 64, "size": 10**12}]), "files.0.size"),
    "a huge manifest": (_text(b" " * (MAX_MANIFEST_BYTES + 1)), "at most"),
    "a deep manifest": (_text(b"[" * 100_000), "nested deeper"),
    "a manifest with a key twice": (_edited(b'"name": "dark"', b'"name": "dark", "name": "other"'), "twice"),
    "a manifest that is no text": (_text(b"\xff\xfe{"), "not valid JSON"),
    "another schema": (_manifest(schema="trichoscope/bundle/9"), "schema"),
    "a role that nobody knows": (_edited(b'"severity": null', b'"oracle": null'), "roles.oracle"),
    "a key that nobody knows": (_manifest(url="https://example.org"), "url"),
    "no role": (_edited(b'"segmenter": {', b'"segmenter": null, "x": {'), "roles"),
    "for a newer program": (_manifest(minimum_version="9999.0"), "update the program"),
    "a number that is none": (_then(_role(threshold=float("nan"))), "threshold"),
    "golden data that is not listed": (
        _then(lambda folder: _role(golden={"file": "other.npz", "tolerances": [{"output": "hair", "absolute": 0.001}]})(folder)),
        "'other.npz' is not among the files",
    ),
    "a pickle": (_with_file("weights.pkl", b"\x80\x04N."), "have no place"),
    "a program": (_with_file("setup.py", b"print(1)"), "have no place"),
    "an engine": (_with_file("segmenter.engine"), "have no place"),
    # releases
    "an older release": (_manifest(release=3), "release 3 is older than 5"),
    "another bundle of the same release": (_manifest(release=5), "another dark of release 5"),
    # a single file
    "a path out of a single file": (_archived(_renamed("../../evil")), "path out of the bundle"),
    "an absolute path in a single file": (_archived(_renamed("/etc/evil")), "path out of the bundle"),
    "a path within a single file": (_archived(_renamed("inner/manifest.json")), "where 'manifest.json' should be"),
    "a name of no letters in a single file": (_archived(_renamed("manifest.json\u202e")), "where 'manifest.json' should be"),
    "a symbolic link in a single file": (_archived(_kind(b"2")), "a symbolic link"),
    "a hard link in a single file": (_archived(_kind(b"1")), "a hard link"),
    "a device in a single file": (_archived(_kind(b"3")), "a device"),
    "a pipe in a single file": (_archived(_kind(b"6")), "a pipe"),
    "an extended header": (_archived(_usual_tar), "an extended header|should be"),
    "an entry twice": (_archived(_twice), "comes twice"),
    "another order": (_archived(_reordered), "should be"),
    "a header of another mode": (_archived(lambda data: _patched(data, lambda b: b[:100] + b"0004755\0" + b[108:])), "header was changed"),
    "a wrong checksum": (_archived(lambda data: data[:148] + b"000000\0 " + data[156:]), "header was changed"),
    "an entry larger than allowed": (_archived(lambda data: header("manifest.json", 2**30) + data[BLOCK:]), "at most"),
    "something hidden between entries": (_archived(_padded), "hidden"),
    "something behind the end": (_archived(lambda data: data + b"x" * BLOCK), "does not end"),
    "a single file cut short": (_archived(lambda data: data[: len(data) // 2]), "ends in the middle|ends before"),
    "a single file without its end": (_archived(lambda data: data[:-BLOCK]), "does not end"),
    "an empty single file": (_archived(lambda _: b""), "ends before"),
    "a compressed file": (_archived(gzip.compress), "compressed"),
    "a ZIP with paths out of it": (_archived(_zip), "not a bundle in a single file"),
    "an encrypted ZIP": (_archived(_locked_zip), "encrypted"),
    "a flipped bit in a single file": (
        _archived(lambda data: data[: -3 * BLOCK] + bytes([data[-3 * BLOCK] ^ 1]) + data[-3 * BLOCK + 1 :]),
        "SHA-256",
    ),
    # golden data
    "golden data that is no archive": (_golden(b"\x80\x04not a zip"), "not golden data"),
    "golden data that is a pickle": (
        _golden(_npz(**{"0/in/picture.npy": np.array([{"a": 1}], dtype=object)})),
        "not golden data|Object arrays",
    ),
    "golden data without cases": (_golden(_npz()), "0 cases"),
    "golden data that is not finite": (
        _golden(_case(**{"0/out/features.npy": np.array([[np.nan, 0, 0]], np.float32)})),
        "no array of finite numbers",
    ),
    "golden data of other inputs": (_golden(_case(**{"0/in/picture.npy": None, "0/in/photo.npy": PICTURE})), "has the inputs photo"),
    "golden data of other outputs": (_golden(_case(**{"0/out/hair.npy": None})), "has the outputs features, marks"),
    "golden data of another type": (_golden(_case(**{"0/in/picture.npy": PICTURE.astype(np.float32)})), "not what the network takes"),
    "golden data with an array twice": (_golden(_doubled()), "not golden data|twice|belongs to no case"),
    "golden data with a case of a number beyond reading": (
        _golden(_npz(**{"9" * 5000 + "/in/picture.npy": PICTURE})),
        "belongs to no case",
    ),
    "golden data packed otherwise": (_golden(_npz(zipfile.ZIP_LZMA, **{"0/in/picture.npy": PICTURE})), "otherwise than by deflate"),
    "golden data of another byte order": (
        _golden(_case(**{"0/out/features.npy": np.zeros((1, 3), np.dtype(np.float32).newbyteorder())})),
        "as this processor has them",
    ),
    "golden data with a path": (_golden(_npz(**{"../../evil.npy": PICTURE})), "belongs to no case"),
    "golden data that unpacks without end": (_golden(_bomb()), "bytes unpacked"),
    "golden data of a terabyte, by its header": (_golden(_giant_shape()), "not golden data"),
    "a tolerance for everything": (
        _then(_role(golden={"file": GOLDEN, "tolerances": [{"output": "hair", "absolute": 1.0}]})),
        "anything would be proven",
    ),
    "a tolerance for nothing": (
        _then(_role(golden={"file": GOLDEN, "tolerances": [{"output": "gold", "absolute": 0.001}]})),
        "tolerances for gold",
    ),
}
