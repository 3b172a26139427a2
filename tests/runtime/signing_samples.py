"""Keys for tests, and signed bundles small enough to make by the dozen."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from runtime.bundles.archive import files_of, pack
from runtime.bundles.settings import ModelsSettings
from runtime.bundles.signing import TrustedKeys, key_id, public_bytes, public_line, sign
from tests.runtime.bundle_samples import GOLDEN, MODEL, write_sample

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
LINE = public_line(public_bytes(KEY), "the tests' key")
TRUSTED = TrustedKeys({key_id(public_bytes(KEY)): public_bytes(KEY)})
SETTINGS = ModelsSettings(trusted_keys=[LINE], kept_slots=1)


@functools.lru_cache(maxsize=1)
def sample_files() -> dict[str, bytes]:
    """The files of the sample bundle, release 1, made once."""
    with tempfile.TemporaryDirectory() as folder:
        write_sample(Path(folder) / "dark")
        return {path.name: path.read_bytes() for path in sorted((Path(folder) / "dark").iterdir())}


def unpacked(folder: Path, release: int = 1, name: str = "dark") -> Path:
    """The sample bundle as a folder, unsigned."""
    folder.mkdir(parents=True)
    for file, data in sample_files().items():
        if file == "manifest.json":
            data = data.replace(b'"release": 1,', b'"release": %d,' % release).replace(b'"name": "dark"', f'"name": "{name}"'.encode())
        (folder / file).write_bytes(data)
    return folder


def sign_folder(folder: Path, key: Ed25519PrivateKey = KEY) -> Path:
    """Sign whatever the manifest is."""
    (folder / "manifest.sig").write_bytes(sign((folder / "manifest.json").read_bytes(), key))
    return folder


def signed(folder: Path, release: int = 1, name: str = "dark") -> Path:
    """The sample bundle as a folder, signed by KEY."""
    return sign_folder(unpacked(folder, release, name))


def archive_of(folder: Path) -> bytes:
    """A signed folder as a single file."""
    content = {name: (folder / name).read_bytes() for name in (GOLDEN, MODEL)}
    return pack(files_of((folder / "manifest.json").read_bytes(), (folder / "manifest.sig").read_bytes(), [GOLDEN, MODEL], content))
