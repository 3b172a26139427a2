import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from runtime.bundles import signing
from runtime.bundles.errors import BundleError
from runtime.bundles.reader import read_bundle
from runtime.bundles.settings import ModelsSettings
from runtime.bundles.signing import (
    FIELD,
    SMALL_ORDER,
    TrustedKeys,
    key_id,
    parse_public_line,
    public_bytes,
    public_line,
    read_trusted_keys,
    sign,
    verify,
)
from tests.runtime.signing_samples import KEY, LINE, OTHER_KEY, TRUSTED, signed, unpacked


def test_a_signed_bundle_says_by_whom(tmp_path):
    bundle = read_bundle(signed(tmp_path / "dark"), TRUSTED)
    assert bundle.signed_by == key_id(public_bytes(KEY))
    assert bundle.manifest_bytes == (tmp_path / "dark" / "manifest.json").read_bytes()
    assert bundle.signature == (tmp_path / "dark" / "manifest.sig").read_bytes()


def test_where_no_signature_is_asked_for_none_is_claimed(tmp_path):
    assert read_bundle(unpacked(tmp_path / "plain")).signed_by is None
    assert read_bundle(signed(tmp_path / "signed")).signed_by is None  # nobody looked


def test_without_keys_nothing_is_trusted(tmp_path):
    with pytest.raises(BundleError, match="trusted are: none"):
        read_bundle(signed(tmp_path / "dark"), TrustedKeys())


def test_the_signature_is_looked_at_before_the_manifest(tmp_path):
    folder = unpacked(tmp_path / "dark")
    (folder / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match="unsigned"):
        read_bundle(folder, TRUSTED)


def test_the_signature_is_looked_at_before_any_other_file(tmp_path, monkeypatch):
    folder = signed(tmp_path / "dark")
    for path in folder.iterdir():
        if path.suffix in (".npz", ".onnx"):
            path.unlink()
    (folder / "manifest.sig").write_bytes(sign(b"another", KEY))
    with pytest.raises(BundleError, match="not this manifest's"):
        read_bundle(folder, TRUSTED)


def test_a_public_key_is_one_line():
    assert parse_public_line(LINE, "here") == public_bytes(KEY)
    assert parse_public_line(public_line(public_bytes(KEY)), "here") == public_bytes(KEY)
    assert "\n" not in LINE


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519 AAAA",
        "trichoscope-ed25519",
        "trichoscope-ed25519 !!!!",
        "trichoscope-ed25519 AAAA",
        f"{LINE.split()[0]} {'A' * 44}",
    ],
)
def test_a_line_that_is_no_key(line):
    with pytest.raises(BundleError, match="here: not a public key"):
        parse_public_line(line, "here")


def test_a_key_that_anybody_can_sign_for_is_refused():
    # twisted Edwards curve of RFC 8032: a point's y is in the list where doubling it three times gives the neutral element
    d = -121665 * pow(121666, -1, FIELD) % FIELD

    def double(x, y):
        product = d * x * x * y * y
        return 2 * x * y * pow(1 + product, -1, FIELD) % FIELD, (y * y + x * x) * pow(1 - product, -1, FIELD) % FIELD

    for y in SMALL_ORDER:
        square = (y * y - 1) * pow(d * y * y + 1, -1, FIELD) % FIELD
        x = pow(square, (FIELD + 3) // 8, FIELD)
        if (x * x - square) % FIELD:
            x = x * pow(2, (FIELD - 1) // 4, FIELD) % FIELD
        assert (x * x - square) % FIELD == 0
        point = (x, y)
        for _ in range(3):
            point = double(*point)
        assert point == (0, 1)
        for encoded in (y, y | 1 << 255):
            with pytest.raises(BundleError, match="anybody"):
                parse_public_line(public_line(encoded.to_bytes(32, "little")), "here")


def test_keys_come_from_lines_and_files(tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"# the shop's\n\n{public_line(public_bytes(OTHER_KEY), 'shop')}\n")
    found = read_trusted_keys([LINE, str(file)])
    assert set(found.keys.values()) == {public_bytes(KEY), public_bytes(OTHER_KEY)}
    for content, why in ((b"nonsense", "not a public key"), (b"\xff", "cannot be read"), (b"#" * 70_000, "larger than")):
        file.write_bytes(content)
        with pytest.raises(BundleError, match=why):
            read_trusted_keys([str(file)])
    with pytest.raises(BundleError, match="no such file"):
        read_trusted_keys([str(tmp_path / "absent")])
    file.write_text("\n".join(public_line(bytes([n]) + bytes(30) + b"\x09") for n in range(65)))
    with pytest.raises(BundleError, match="more than 64"):
        read_trusted_keys([str(file)])


def test_the_configuration_refuses_a_line_that_is_no_key():
    assert ModelsSettings(trusted_keys=[LINE, "/etc/trichoscope/keys"]).trusted_keys == [LINE, "/etc/trichoscope/keys"]
    with pytest.raises(ValidationError, match="not a public key"):
        ModelsSettings(trusted_keys=["keys/mine.pub"])


@given(st.binary(max_size=1500))
def test_any_bytes_are_no_signature(signature):
    with pytest.raises(BundleError):
        verify(b"{}", signature, TRUSTED, "here")


@given(st.fixed_dictionaries({"schema": st.just("trichoscope/signature/1"), "key": st.text(), "signature": st.text()}))
def test_any_texts_are_no_signature(said):
    with pytest.raises(BundleError):
        verify(b"{}", json.dumps(said | {"key": key_id(public_bytes(KEY))}).encode(), TRUSTED, "here")


@given(st.integers(min_value=0, max_value=63), st.integers(min_value=1, max_value=255))
def test_any_changed_byte_of_a_signature_is_seen(place, change):
    import base64

    said = json.loads(sign(b"{}", KEY))
    raw = bytearray(base64.b64decode(said["signature"]))
    raw[place] ^= change
    changed = json.dumps(said | {"signature": base64.b64encode(raw).decode()}).encode()
    with pytest.raises(BundleError, match="not this manifest's"):
        verify(b"{}", changed, TRUSTED, "here")
    assert verify(b"{}", json.dumps(said).encode(), TRUSTED, "here") == key_id(public_bytes(KEY))


def test_the_prefix_is_the_signatures_own():
    assert signing.PREFIX.endswith(b"\0")
    KEY.public_key().verify(__import__("base64").b64decode(json.loads(sign(b"{}", KEY))["signature"]), signing.PREFIX + b"{}")
