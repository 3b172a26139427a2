"""`trichoscope-export bundle`: put bundles together, sign them, and look at what is in one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from runtime.errors import TrichoscopeError

if TYPE_CHECKING:
    from runtime.bundles.interface import Network
    from runtime.bundles.reader import Bundle
    from runtime.bundles.signing import TrustedKeys
    from runtime.bundles.writer import Signer

app = typer.Typer(no_args_is_help=True, help="Put bundles together, sign and inspect them.")

Passphrase = Annotated[
    Path | None, typer.Option("--passphrase-file", help="File with the key's passphrase in its first line.", show_default=False)
]
Key = Annotated[Path | None, typer.Option("--key", help="Private key to sign with; unsigned without.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@app.command()
def keygen(
    out: Annotated[Path, typer.Argument(help="File of the private key; the public one gets .pub behind its name.")],
    comment: Annotated[str, typer.Option(help="Whose key it is, at the end of the public line.")] = "",
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Ask for a passphrase and lock the private key with it.")] = False,
    passphrase_file: Passphrase = None,
) -> None:
    """Make a pair of keys; print the public line, which devices are to trust. The private key stays on this machine."""
    from export.keys import make_keys, read_passphrase

    with _told("keygen"):
        secret = None if passphrase_file is None else read_passphrase(passphrase_file)
        if passphrase and secret is None:
            secret = typer.prompt("passphrase", hide_input=True, confirmation_prompt=True, err=True).encode()
        typer.echo(make_keys(out, comment, secret))


@app.command()
def build(
    out: Annotated[Path, typer.Argument(help="The bundle: a folder, or a single file where the name ends in .bundle; replaced if there.")],
    part: Annotated[list[Path] | None, typer.Option(help="Part of a bundle (a folder with role.json), again for more.")] = None,
    base: Annotated[Path | None, typer.Option(help="Bundle whose other roles are copied.", show_default=False)] = None,
    name: Annotated[
        str | None, typer.Option(help="Small letters, digits, hyphens; the base's where not given.", show_default=False)
    ] = None,
    release: Annotated[
        int | None,
        typer.Option(min=1, max=2**31, help="Only ever grows; one more than the base's, or 1, where not given.", show_default=False),
    ] = None,
    minimum_version: Annotated[str | None, typer.Option(help="Oldest program that can use it; this one else.", show_default=False)] = None,
    key: Key = None,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Put parts, and the other roles of a bundle, into a new bundle; look it over as a device does; sign it if a key is given."""
    from export.conversion.assembling import assemble
    from export.conversion.part import read_part
    from runtime import __version__
    from runtime.bundles.reader import read_bundle
    from runtime.bundles.writer import check_target

    with _told("build"):
        signer = _signer(key, passphrase_file)
        old = None if base is None else read_bundle(base)
        called = name or ("" if old is None else old.manifest.name)
        number = release or (1 if old is None else old.manifest.release + 1)
        check_target(out, called)
        made = assemble(
            out,
            [read_part(folder) for folder in part or ()],
            base=old,
            name=called,
            release=number,
            minimum_version=minimum_version or ".".join(__version__.split(".")[:3]),
            signer=signer,
        )
    _say(made, out, as_json)


@app.command()
def sign(
    bundle: Annotated[Path, typer.Argument(help="A bundle, folder or single file; a signature that it has is replaced.")],
    key: Annotated[Path, typer.Option("--key", help="Private key of `bundle keygen`.")],
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Look a bundle over and sign its manifest, which holds the hashes of all its files."""
    from runtime.bundles.writer import add_signature

    with _told("sign"):
        signer = _signer(key, passphrase_file)
        assert signer is not None
        made = add_signature(bundle, signer)
    _say(made, bundle, as_json)


@app.command()
def inspect(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle, folder or single file.")],
    trusted: Annotated[
        list[str] | None, typer.Option("--trusted", help="Public line or file of such; the signature must be of one of them.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify a bundle and print what is in it: signature, hashes, roles, networks, sizes, cards."""
    from runtime.bundles.reader import read_bundle

    with _told("inspect"):
        keys = _trusted(trusted)
        found = about(read_bundle(bundle, keys))
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    typer.echo(f"{found['id']}  needs trichoscope {found['minimum_version']} or newer")
    typer.echo(f"signature: {found['signature']}")
    for file in found["files"]:
        typer.echo(f"  {file['size']:>10}  {file['sha256'][:16]}  {file['name']}")
    for role in found["roles"]:
        card = role["card"]
        real = "validated on real labels" if card["validated_on_real_labels"] else "NOT validated on real labels"
        typer.echo(f"{role['role']}: {_shown(card['description'])}")
        typer.echo(f"  trained on {_shown(card['trained_on'])}; {real}; licence {_shown(card['licence'])}")
        typer.echo(f"  again by: {_shown(card['repeat'])}")
        typer.echo(f"  limits: {_shown(card['limits'])}")
        for network in role["networks"]:
            opsets = ", ".join(f"{domain} {version}" for domain, version in network["opsets"].items())
            typer.echo(f"  {network['precision']}: {network['file']}, {network['weights']} weights, {opsets}, IR {network['ir']}")
        for key, value in role["metrics"].items():
            typer.echo(f"    {_shown(key)} {value:g}")


def _shown(text: str) -> str:
    """A stranger's text on one line, without what a terminal would obey."""
    return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in text)


def about(bundle: Bundle) -> dict[str, Any]:
    """A verified bundle as plain values."""
    from runtime.bundles.graph import read_graph
    from runtime.bundles.interface import networks_of
    from runtime.bundles.signing import signing_key_id

    manifest = bundle.manifest
    signature = "none"
    if bundle.signature is not None:
        signer = signing_key_id(bundle.signature, bundle.id)
        signature = f"of {signer}, {'verified' if bundle.signed_by else 'not verified: no --trusted key was given'}"
    roles = []
    for label, role in manifest.roles.present().items():
        networks = []
        for precision, file in ((p, f) for each in networks_of(role) for p, f in _files(each)):
            graph = read_graph(bundle.content[file], file)
            networks.append(
                {
                    "precision": precision,
                    "file": file,
                    "ir": graph.ir,
                    "opsets": {domain or "ai.onnx": version for domain, version in graph.opsets.items()},
                    "inputs": {key: list(value.shape or ()) for key, value in graph.inputs.items()},
                    "outputs": {key: list(value.shape or ()) for key, value in graph.outputs.items()},
                    "operators": dict(graph.operators),
                    "weights": graph.weights,
                }
            )
        card = role.card.model_dump(mode="json")
        roles.append({"role": label, "networks": networks, "golden": role.golden.file, "metrics": dict(role.metrics), "card": card})
    return {
        "id": bundle.id,
        "name": manifest.name,
        "release": manifest.release,
        "minimum_version": manifest.minimum_version,
        "sha256": bundle.sha256,
        "signature": signature,
        "signed_by": bundle.signed_by,
        "files": [entry.model_dump() for entry in manifest.files],
        "roles": roles,
    }


def _files(network: Network) -> list[tuple[str, str]]:
    """Precision and file of a network in each of its forms."""
    return [("fp32", network.model), *((each.precision, each.model) for each in network.variants)]


@app.command()
def segmenter(
    training: Annotated[Path, typer.Argument(help="Folder of a training; its last checkpoint is taken.")],
    out: Annotated[Path, typer.Argument(help="Folder of the bundle; one that is there is replaced.")],
    name: Annotated[str, typer.Option(help="Name of the bundle: small letters, digits, hyphens.")] = "hair-live",
    release: Annotated[int, typer.Option(min=1, max=2**31, help="Release number; it only ever grows.")] = 1,
    per_kind: Annotated[int, typer.Option(min=5, help="Rendered frames of each kind to fit the trust to, and as many to test on.")] = 60,
) -> None:
    """Convert a training's averaged network, prove it, measure it and write its bundle."""
    from export.conversion.segmenter import bundle_segmenter
    from runtime.bundles.writer import check_target

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with _told("segmenter"), Progress(*columns, console=Console(stderr=True)) as bars:
        check_target(out, name)
        bars.add_task("converting, measuring")
        made = bundle_segmenter(training, out, name=name, release=release, per_kind=per_kind)
    typer.echo(f"{out}: {made.id}")


def _signer(key: Path | None, passphrase_file: Path | None) -> Signer | None:
    if key is None:
        return None
    from export.keys import read_key, read_passphrase
    from runtime.bundles.signing import sign as signature_of

    private = read_key(key, None if passphrase_file is None else read_passphrase(passphrase_file))
    return lambda manifest: signature_of(manifest, private)


def _trusted(lines: list[str] | None) -> TrustedKeys | None:
    from runtime.bundles.signing import read_trusted_keys

    if not lines:
        return None
    return read_trusted_keys([line if line.startswith("trichoscope-") else str(Path(line).absolute()) for line in lines])


def _say(bundle: Bundle, where: Path, as_json: bool) -> None:
    if as_json:
        found = about(bundle)
        typer.echo(json.dumps({key: found[key] for key in ("id", "name", "release", "sha256", "signature")}))
    else:
        typer.echo(f"{where}: {bundle.id}{', signed' if bundle.signature is not None else ', unsigned'}")


@contextmanager
def _told(command: str) -> Iterator[None]:
    """Errors as one line on stderr and exit code 1."""
    try:
        yield
    except TrichoscopeError as problem:
        Console(stderr=True).print(f"bundle {command}: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem
