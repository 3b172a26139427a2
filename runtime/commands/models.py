"""`trichoscope models`: the bundles of networks that are installed on the device, and which of them serves."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

if TYPE_CHECKING:
    from runtime.bundles.proof import Proof
    from runtime.bundles.reader import Bundle
    from runtime.bundles.trial import ModelStore
    from runtime.config import Settings
    from runtime.inference.backend import Backend
    from runtime.inference.tensorrt.cache import EngineCache
    from runtime.inference.tensorrt.process import WorkerCommand
    from runtime.inference.tensorrt.sources import EngineSource

app = typer.Typer(no_args_is_help=True, help="Install, prove and activate bundles of networks.", pretty_exceptions_enable=False)

Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Configuration file (TOML).", show_default=False)]
State = Annotated[Path | None, typer.Option("--state", metavar="FOLDER", help="State folder; the configured one else.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]
Wanted = Annotated[str, typer.Argument(metavar="SLOT|NAME", help="A slot (or the first 8 signs of it), a bundle's name, or factory.")]


@app.command("list")
def list_(config: Config = None, state: State = None, as_json: AsJson = False) -> None:
    """List the installed bundles: which one serves, which served before, which is on trial."""
    with _told("list"):
        _, store = _store(config, state)
        chosen, found = store.choose(), store.installed()
        if as_json:
            rows = [{**vars(each), "roles": list(each.roles)} for each in found]
            _print({"serves": chosen.bundle.id, "source": chosen.source, "notice": chosen.notice, "slots": rows})
            return
        typer.echo(f"serves: {chosen.bundle.id} ({chosen.source})")
        if chosen.notice:
            typer.echo(f"notice: {chosen.notice}")
        for each in found:
            said = ", ".join(
                word for word, holds in (("active", each.active), ("previous", each.previous), ("on trial", each.on_trial)) if holds
            )
            about = each.problem or f"{each.name} release {each.release}: {', '.join(each.roles)}"
            typer.echo(f"  {each.slot[:12]}  {about}{f'  [{said}]' if said else ''}")


@app.command()
def install(
    bundle: Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="A bundle signed by a key of [models] trusted_keys.")],
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Verify a bundle and put it into a slot of its own. It does not serve yet: activate it."""
    with _told("install"), _busy("verifying and writing"):
        _, store = _store(config, state)
        slot, made = store.install(bundle)
    if as_json:
        _print({"slot": slot, "id": made.id, "signed_by": made.signed_by, "roles": list(made.manifest.roles.present())})
    else:
        typer.echo(
            f"{slot[:12]}: {made.id} is installed, signed by {made.signed_by}; `trichoscope models activate {slot[:12]}` lets it serve"
        )


@app.command()
def activate(wanted: Wanted, config: Config = None, state: State = None, as_json: AsJson = False) -> None:
    """Prove an installed bundle on this machine and let it serve, on trial, from the next moment that nobody is being examined."""
    proofs: list[Proof] = []

    def check(bundle: Bundle) -> None:
        from runtime.bundles.proof import prove

        _first_to_go()
        proofs.append(prove(bundle))
        proofs[-1].require()

    with _told("activate"), _busy("proving"):
        settings, store = _store(config, state)
        made = store.activate(wanted, check)
    _say_what_serves_instead(settings)
    if as_json:
        _print({"active": made.id, "proof": proofs[-1].to_dict()})
    else:
        typer.echo(f"{made.id} is active; proven on {proofs[-1].backend}")


@app.command()
def rollback(config: Config = None, state: State = None, as_json: AsJson = False) -> None:
    """Let the bundle serve again that served well before; the factory's where there is none."""
    with _told("rollback"):
        settings, store = _store(config, state)
        store.roll_back()
        chosen = store.choose()
    _say_what_serves_instead(settings)
    if as_json:
        _print({"active": chosen.bundle.id, "source": chosen.source, "notice": chosen.notice})
    else:
        typer.echo(f"{chosen.bundle.id} is active ({chosen.source})")


@app.command()
def dismiss(config: Config = None, state: State = None) -> None:
    """Dismiss the notice that a bundle was rolled back."""
    with _told("dismiss"):
        _, store = _store(config, state)
        store.dismiss_notice()


@app.command()
def verify(
    wanted: Annotated[
        str | None, typer.Argument(metavar="[SLOT|NAME|FILE|FOLDER]", help="What to prove; what serves else.", show_default=False)
    ] = None,
    backend: Annotated[Literal["onnxruntime", "tensorrt"], typer.Option(help="What runs the networks.")] = "onnxruntime",
    precision: Annotated[Literal["fp32", "fp16", "int8", "int8-symmetric"], typer.Option(help="Of the networks.")] = "fp32",
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Run a bundle's golden inputs on this machine and compare with the reference. Exit code 1 where anything is not near enough."""
    from runtime.bundles.proof import prove

    _first_to_go()
    with _told("verify"), _busy("proving"):
        settings, store = _store(config, state)
        bundle = _bundle(store, wanted)
        proofs = [prove(bundle, precision=precision)] if backend == "onnxruntime" else _on_tensorrt(bundle, settings, precision)
    if as_json:
        _print({"bundle": bundle.id, "passed": all(proof.passed for proof in proofs), "proofs": [proof.to_dict() for proof in proofs]})
    else:
        for proof in proofs:
            _print_proof(proof)
    if not all(proof.passed for proof in proofs):
        raise typer.Exit(1)


@app.command()
def build(
    wanted: Annotated[
        str | None, typer.Argument(metavar="[SLOT|NAME|FILE|FOLDER]", help="Whose engines; what serves else.", show_default=False)
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None,
        typer.Option(help="Of the networks; what [inference] precision says else; int8 is the symmetric one.", show_default=False),
    ] = None,
    weak: Annotated[
        bool, typer.Option("--weak", help="TensorRT 10 chooses the types by flags instead of the graph; so [inference] weakly_typed does.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Also those that are there.")] = False,
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Build the TensorRT engines of a bundle for this very machine; ONNX Runtime serves until they are there."""
    from rich.progress import Progress, TextColumn

    with _told("build"):
        from runtime.inference.tensorrt.building import build_engines
        from runtime.inference.tensorrt.process import WorkerCommand

        settings, store = _store(config, state)
        bundle = _bundle(store, wanted)
        columns = (*Progress.get_default_columns(), TextColumn("{task.fields[what]}"))
        with Progress(*columns, console=Console(stderr=True)) as bars:
            tasks: dict[str, Any] = {}

            def told(role: str, share: float, what: str) -> None:
                if role not in tasks:
                    tasks[role] = bars.add_task(role, total=1.0, what="")
                bars.update(tasks[role], completed=share, what=what)

            inference = settings.inference
            engines = build_engines(
                bundle,
                settings.engines_folder,
                precision=precision or (None if inference.precision == "auto" else inference.precision),  # what the daemon will look for
                weak=weak or inference.weakly_typed,
                again=again,
                on_progress=told,
                command=WorkerCommand.configured(inference.python),
            )
    if as_json:
        _print({"bundle": bundle.id, "engines": [engine.to_dict() for engine in engines]})
        return
    for engine in engines:
        typer.echo(f"{engine.role}: {'built' if engine.fresh else 'was there'}: {engine.file}")


def _first_to_go() -> None:
    """Have the kernel end this command, and not the daemon, where a network takes all memory: a signed one is no proof of moderation."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _store(config: Path | None, state: Path | None) -> tuple[Settings, ModelStore]:
    from runtime.bundles.trial import ModelStore
    from runtime.config import load_settings

    settings = load_settings(config, {"store.folder": None if state is None else state.expanduser().absolute()})
    return settings, ModelStore(settings.models_folder, settings.models, configured=settings.analysis.bundle)


def _say_what_serves_instead(settings: Settings) -> None:
    """What was changed has no effect while the configuration names a bundle."""
    if settings.analysis.bundle is not None:
        typer.echo(f"[analysis] bundle = {settings.analysis.bundle} serves all the same: take it out of the configuration", err=True)


def _bundle(store: ModelStore, wanted: str | None) -> Bundle:
    """An installed bundle, one at a path (unsigned too: nothing is installed), or the one that serves."""
    from runtime.bundles.reader import read_bundle

    if wanted is None:
        chosen = store.choose()
        if chosen.notice:
            typer.echo(chosen.notice, err=True)
        return chosen.bundle
    if "/" in wanted or os.path.exists(wanted):  # noqa: PTH110  (Path's raises where no file can have such a name)
        return read_bundle(Path(wanted))
    return store.read(wanted)


def _on_tensorrt(bundle: Bundle, settings: Settings, precision: str) -> list[Proof]:
    """A proof of each role that TensorRT runs. Raises InferenceError where there is none, or no network of that precision."""
    from runtime.bundles.proof import prove
    from runtime.inference.errors import InferenceError
    from runtime.inference.tensorrt.cache import EngineCache
    from runtime.inference.tensorrt.process import WorkerCommand
    from runtime.inference.tensorrt.sources import engine_source, roles_of

    if precision == "int8":
        raise InferenceError(f"{bundle.id}: int8 is for processors: choose int8-symmetric for TensorRT")
    if not roles_of(bundle):
        raise InferenceError(f"{bundle.id}: no role of it is one for TensorRT: prove it on ONNX Runtime")
    cache, command = EngineCache(settings.engines_folder), WorkerCommand.configured(settings.inference.python)
    kind: Any = "int8" if precision == "int8-symmetric" else precision
    proofs = []
    for role in roles_of(bundle):
        source = engine_source(bundle, role, precision=kind, weak=settings.inference.weakly_typed)
        make = partial(_engine, source=source, cache=cache, command=command)
        proofs.append(prove(bundle, make_backend=make, precision=source.proven_as, roles=[role]))
    return proofs


def _engine(_: bytes, source: EngineSource, cache: EngineCache, command: WorkerCommand) -> Backend:
    from runtime.inference.tensorrt.backend import TensorRtBackend

    return TensorRtBackend(source.model, cache, source.options, name=f"{source.role} (TensorRT)", command=command)


def _print_proof(proof: Proof) -> None:
    for row in proof.rows:
        typer.echo(f"{'ok ' if row.passed else 'BAD'} {row.role}.{row.output}: off by {row.max_abs} at most, {row.compared} numbers")
    for end in proof.ends:
        typer.echo(f"{'ok ' if end.passed else 'BAD'} {end.role} {end.metric}: changed by {end.change}, {end.allowed} is allowed")
    for line in proof.failures():
        typer.echo(line, err=True)
    typer.echo(f"{proof.bundle}: {'proven' if proof.passed else 'NOT proven'} on {proof.backend}, {proof.precision}")


@contextmanager
def _told(command: str) -> Iterator[None]:
    """Errors as one line on stderr and exit code 1."""
    from runtime.errors import TrichoscopeError

    try:
        yield
    except TrichoscopeError as problem:
        typer.echo(f"models {command}: {problem}", err=True)
        raise typer.Exit(1) from problem


@contextmanager
def _busy(what: str) -> Iterator[None]:
    if not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status(what):
        yield


def _print(found: dict[str, Any]) -> None:
    typer.echo(json.dumps(found, ensure_ascii=False, allow_nan=False))
