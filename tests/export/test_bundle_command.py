import json

import pytest
from typer.testing import CliRunner

from export.cli import app
from export.conversion.part import RolePart, write_part
from export.errors import ConversionError, KeyFileError
from export.keys import make_keys, read_key
from runtime.bundles.reader import read_bundle
from runtime.bundles.settings import ModelsSettings
from runtime.bundles.trial import ModelStore
from tests.runtime.bundle_samples import GOLDEN, MODEL, segmenter_role, write_sample
from tests.runtime.signing_samples import sample_files

pytestmark = pytest.mark.export


def run(*words):
    return CliRunner().invoke(app, ["bundle", *map(str, words)])


def _json(done):
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def part(tmp_path):
    files = sample_files()
    content = {MODEL: files[MODEL], GOLDEN: files[GOLDEN], "curves.svg": b"<svg/>"}
    write_part(tmp_path / "part", RolePart("segmenter", segmenter_role(), content))
    return tmp_path / "part"


def test_from_keys_to_a_bundle_that_a_device_takes(tmp_path, part):
    line = run("keygen", tmp_path / "key", "--comment", "the shop").stdout.strip()
    assert line.endswith(" the shop")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "key.pub").read_text() == line + "\n"
    made = _json(
        run("build", tmp_path / "dark.bundle", "--part", part, "--name", "dark", "--release", 3, "--key", tmp_path / "key", "--json")
    )
    assert (made["name"], made["release"]) == ("dark", 3)
    shown = _json(run("inspect", tmp_path / "dark.bundle", "--trusted", line, "--json"))
    assert shown["id"] == made["id"]
    assert shown["signature"].endswith("verified")
    assert {file["name"] for file in shown["files"]} == {MODEL, GOLDEN, "curves.svg"}
    assert shown["roles"][0]["networks"][0]["opsets"] == {"ai.onnx": 17}
    store = ModelStore(tmp_path / "models", ModelsSettings(trusted_keys=[str(tmp_path / "key.pub")]))
    slot, _ = store.install(tmp_path / "dark.bundle")
    assert store.activate(slot).id == made["id"]


def test_signing_comes_later_too(tmp_path, part):
    run("keygen", tmp_path / "key")
    assert "unsigned" in run("build", tmp_path / "dark", "--part", part, "--name", "dark").stdout
    assert "none" in run("inspect", tmp_path / "dark").stdout
    refused = run("inspect", tmp_path / "dark", "--trusted", tmp_path / "key.pub")
    assert refused.exit_code == 1 and "unsigned" in refused.stderr
    assert run("sign", tmp_path / "dark", "--key", tmp_path / "key").exit_code == 0
    text = run("inspect", tmp_path / "dark", "--trusted", tmp_path / "key.pub").stdout
    assert "verified" in text and "NOT validated on real labels" in text and "Apache-2.0" in text
    assert "not verified" in run("inspect", tmp_path / "dark").stdout


def test_a_strangers_text_commands_no_terminal(tmp_path):
    role = segmenter_role()
    card = role.card.model_copy(update={"description": "\x1b]0;mine\x07 \u202eevil\nsignature: verified"})
    part = RolePart("segmenter", role.model_copy(update={"card": card}), {name: sample_files()[name] for name in (MODEL, GOLDEN)})
    write_part(tmp_path / "part", part)
    run("build", tmp_path / "dark", "--part", tmp_path / "part", "--name", "dark")
    text = run("inspect", tmp_path / "dark").stdout
    assert all(sign.isprintable() or sign == "\n" for sign in text)
    assert "\\x1b]0;mine" in text and "\nsignature: verified" not in text


def test_a_flipped_bit_is_seen(tmp_path, part):
    run("build", tmp_path / "dark", "--part", part, "--name", "dark")
    data = bytearray((tmp_path / "dark" / MODEL).read_bytes())
    data[100] ^= 1
    (tmp_path / "dark" / MODEL).write_bytes(data)
    for verb in (("inspect", tmp_path / "dark"), ("build", tmp_path / "new", "--base", tmp_path / "dark")):
        done = run(*verb)
        assert done.exit_code == 1 and "SHA-256" in done.stderr
    assert not (tmp_path / "new").exists()


def test_other_roles_are_copied_from_a_base(tmp_path, part):
    from tests.runtime.forecast_samples import write_forecast_bundle

    write_forecast_bundle(tmp_path / "base")
    old = read_bundle(tmp_path / "base")
    made = _json(run("build", tmp_path / "both", "--part", part, "--base", tmp_path / "base", "--json"))
    both = read_bundle(tmp_path / "both")
    assert set(both.manifest.roles.present()) == {"segmenter", "forecast"}
    assert (made["name"], made["release"]) == (old.manifest.name, old.manifest.release + 1)
    assert both.manifest.roles.forecast == old.manifest.roles.forecast
    again = _json(run("build", tmp_path / "again", "--part", part, "--base", tmp_path / "both", "--json"))
    assert again["release"] == made["release"] + 1
    assert read_bundle(tmp_path / "again").content == both.content


def test_parts_that_do_not_go_together(tmp_path, part):
    done = run("build", tmp_path / "dark", "--part", part, "--part", part, "--name", "dark")
    assert done.exit_code == 1 and "two parts fill it" in done.stderr
    done = run("build", tmp_path / "dark", "--name", "dark")
    assert done.exit_code == 1 and "no role is filled" in done.stderr
    done = run("build", tmp_path / "dark", "--part", part)
    assert done.exit_code == 1 and "no name of a bundle" in done.stderr
    assert not (tmp_path / "dark").exists()


def test_files_of_the_same_name_are_kept_apart():
    from export.conversion.assembling import _add

    role, content = segmenter_role(), {"curves.svg": b"other", "x.svg": b"same"}
    _add(content, RolePart("segmenter", role, {"curves.svg": b"mine", "x.svg": b"same", MODEL: b"m"}))
    assert content == {"curves.svg": b"other", "segmenter-curves.svg": b"mine", "x.svg": b"same", MODEL: b"m"}
    with pytest.raises(ConversionError, match=MODEL):
        _add(content, RolePart("segmenter", role, {MODEL: b"another"}))


def test_a_passphrase_locks_the_key(tmp_path, part):
    (tmp_path / "secret").write_text("correct horse\n")
    assert run("keygen", tmp_path / "key", "--passphrase-file", tmp_path / "secret").exit_code == 0
    assert b"ENCRYPTED" in (tmp_path / "key").read_bytes()
    write_sample(tmp_path / "dark")
    assert run("sign", tmp_path / "dark", "--key", tmp_path / "key").exit_code == 1
    (tmp_path / "wrong").write_text("battery staple\n")
    wrong = run("sign", tmp_path / "dark", "--key", tmp_path / "key", "--passphrase-file", tmp_path / "wrong")
    assert wrong.exit_code == 1 and "another passphrase" in wrong.stderr
    assert not (tmp_path / "dark" / "manifest.sig").exists()
    assert run("sign", tmp_path / "dark", "--key", tmp_path / "key", "--passphrase-file", tmp_path / "secret").exit_code == 0
    asked = CliRunner().invoke(app, ["bundle", "keygen", str(tmp_path / "asked"), "--passphrase"], input="pass\npass\n")
    assert asked.exit_code == 0 and "trichoscope-ed25519 " in asked.stdout  # the prompts are there too in a test
    assert read_key(tmp_path / "asked", b"pass")


def test_a_passphrase_that_no_key_takes(tmp_path):
    (tmp_path / "long").write_bytes(b"x" * 1024)
    done = run("keygen", tmp_path / "key", "--passphrase-file", tmp_path / "long")
    assert done.exit_code == 1 and "1 to 1023" in done.stderr
    assert not (tmp_path / "key").exists()


def test_a_key_is_never_overwritten_and_never_half_there(tmp_path, monkeypatch):
    make_keys(tmp_path / "key")
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(KeyFileError, match="is there already"):
        make_keys(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before
    (tmp_path / "other.pub").write_text("mine")
    with pytest.raises(KeyFileError, match="is there already"):
        make_keys(tmp_path / "other")
    assert not (tmp_path / "other").exists()
    with pytest.raises(KeyFileError, match="No such file"):
        make_keys(tmp_path / "absent" / "key")
    with pytest.raises(KeyFileError, match="one line"):
        make_keys(tmp_path / "third", "a\ntrichoscope-ed25519 evil")


def test_files_that_are_no_key(tmp_path):
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content, message in ((b"", "no private key"), (b"\xff" * 90, "no private key"), (other, "another kind")):
        file = tmp_path / "file"
        file.write_bytes(content)
        file.chmod(0o600)
        with pytest.raises(KeyFileError, match=message):
            read_key(file)
    with pytest.raises(KeyFileError, match="No such file"):
        read_key(tmp_path / "absent")
    make_keys(tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_key(tmp_path / "key")
