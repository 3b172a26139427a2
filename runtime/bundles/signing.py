"""Who vouches for a bundle: Ed25519 signatures (RFC 8032) over the exact bytes of its manifest, which holds the hashes of all else.

What is signed begins with a prefix of its own, so that a signature made for another purpose with the same key is none for a bundle.
A public key is one line of text, `trichoscope-ed25519 BASE64 [comment]`; a bundle's `manifest.sig` is a small JSON object.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, ValidationError

from runtime.bundles.errors import BundleError
from runtime.bundles.parts import Part

if TYPE_CHECKING:  # every command reads a configuration, few verify anything
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PREFIX: Final = b"trichoscope bundle manifest, version 1\0"
KIND: Final = "trichoscope-ed25519"
MAX_SIGNATURE_BYTES = 1024
MAX_KEY_FILE_BYTES = 64 * 1024
MAX_KEYS = 64
SMALL_ORDER = frozenset(
    int.from_bytes(bytes.fromhex(y), "little")
    for y in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )
)
"""The y of the points whose order divides 8: as keys they take signatures that nobody made, and a key of zeros is among them."""
FIELD: Final = 2**255 - 19


class _Signature(Part):
    """The whole of `manifest.sig`."""

    schema_: Literal["trichoscope/signature/1"] = Field(alias="schema")
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    signature: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{86}==$")]


@dataclass(frozen=True)
class TrustedKeys:
    """Public keys (32 bytes each) by their id. Without any, no signature counts."""

    keys: Mapping[str, bytes] = field(default_factory=dict)


def key_id(public: bytes) -> str:
    """What a public key of 32 bytes is called: 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(public).hexdigest()[:16]


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes of the public key that belongs to `key`."""
    return key.public_key().public_bytes_raw()


def public_line(public: bytes, comment: str = "") -> str:
    """A public key as one line of text."""
    return f"{KIND} {base64.b64encode(public).decode()} {comment}".strip()


def parse_public_line(line: str, where: str) -> bytes:
    """The 32 bytes of a public key's line; `where` names it in errors.

    Raises:
        BundleError: not such a line, or a key that anybody could sign for.
    """
    parts = line.split(maxsplit=2)
    try:
        if len(parts) < 2 or parts[0] != KIND:
            raise ValueError(f"it does not begin with {KIND}")
        public = base64.b64decode(parts[1], validate=True)
        if len(public) != 32:
            raise ValueError(f"{len(public)} bytes, a key has 32")
        if (int.from_bytes(public, "little") & (2**255 - 1)) % FIELD in SMALL_ORDER:
            raise ValueError("anybody could sign for it")
    except (ValueError, binascii.Error) as problem:
        raise BundleError(f"{where}: not a public key ({problem}): copy the line of `trichoscope-export bundle keygen`") from problem
    return public


def read_trusted_keys(entries: Iterable[str]) -> TrustedKeys:
    """Keys from a configuration: each entry is a public key's line, or the absolute path of a file of such lines (# for comments).

    Raises:
        BundleError: an entry is neither, a file cannot be read, there are too many.
    """
    keys: dict[str, bytes] = {}
    for entry in entries:
        if entry.startswith("/"):
            lines = [line.strip() for line in _key_file(Path(entry)).splitlines()]
            found = [parse_public_line(line, entry) for line in lines if line and not line.startswith("#")]
        else:
            found = [parse_public_line(entry, "models.trusted_keys")]
        keys |= {key_id(public): public for public in found}
        if len(keys) > MAX_KEYS:
            raise BundleError(f"models.trusted_keys: more than {MAX_KEYS} keys: keep those that are used")
    return TrustedKeys(keys)


def _key_file(path: Path) -> str:
    try:
        if not path.is_file():
            raise BundleError(f"{path}: no such file: name a file of public keys")
        with path.open("rb") as file:
            content = file.read(MAX_KEY_FILE_BYTES + 1)
        if len(content) > MAX_KEY_FILE_BYTES:
            raise BundleError(f"{path}: larger than {MAX_KEY_FILE_BYTES} bytes: name a file of public keys")
        return content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise BundleError(f"{path}: cannot be read as a file of public keys ({problem}): check its name and mode") from problem


def sign(manifest: bytes, key: Ed25519PrivateKey) -> bytes:
    """The content of `manifest.sig` for these exact bytes of a manifest."""
    signature = base64.b64encode(key.sign(PREFIX + manifest)).decode()
    return (json.dumps({"schema": "trichoscope/signature/1", "key": key_id(public_bytes(key)), "signature": signature}) + "\n").encode()


def signing_key_id(signature: bytes, where: str) -> str:
    """Which key a `manifest.sig` names; nothing is verified.

    Raises:
        BundleError: not such a file.
    """
    return _parse(signature, where).key


def verify(manifest: bytes, signature: bytes | None, trusted: TrustedKeys, where: str) -> str:
    """The id of the trusted key that signed these bytes of a manifest.

    Args:
        signature: the content of `manifest.sig`, None where there is none.
        where: names the bundle in errors.

    Raises:
        BundleError: unsigned, signed by a key that is not trusted, or the signature is not this manifest's.
    """
    if signature is None:
        raise BundleError(f"{where}: unsigned: sign it with `trichoscope-export bundle sign`")
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    said = _parse(signature, where)
    public = trusted.keys.get(said.key)
    if public is None:
        known = ", ".join(trusted.keys) or "none"
        raise BundleError(f"{where}: signed by the key {said.key}, trusted are: {known}: add it to models.trusted_keys if you trust it")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(said.signature), PREFIX + manifest)
    except (InvalidSignature, ValueError) as problem:
        raise BundleError(f"{where}: the signature is not this manifest's, one of them was changed: get the bundle again") from problem
    return said.key


def _parse(signature: bytes, where: str) -> _Signature:
    if len(signature) > MAX_SIGNATURE_BYTES:
        raise BundleError(f"{where}: its signature is larger than {MAX_SIGNATURE_BYTES} bytes: get the bundle again")
    try:
        pairs = json.loads(signature, object_pairs_hook=list)
        if isinstance(pairs, list) and len(pairs) != 3:
            raise ValueError("three keys are expected")
        return _Signature.model_validate_json(signature)
    except (ValidationError, ValueError, RecursionError) as problem:
        raise BundleError(f"{where}: its signature cannot be read: get the bundle again") from problem
