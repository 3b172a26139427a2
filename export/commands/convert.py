"""`trichoscope-export convert`: trainings of this program, a person's own networks and scikit-learn estimators as ONNX, proven alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from export.commands import convert_sam, convert_u2net
from runtime.errors import TrichoscopeError

if TYPE_CHECKING:
    from export.conversion.torch_graph import TensorSpec
    from runtime.bundles.parts import PictureInput

app = typer.Typer(no_args_is_help=True, help="Make ONNX networks, and parts of bundles, of what was trained.")


class Role(str, Enum):
    """What a network is for."""

    segmenter = "segmenter"
    severity = "severity"
    conditions = "conditions"
    forecast = "forecast"
    stage = "stage"


class Exporter(str, Enum):
    """How PyTorch makes the graph."""

    auto = "auto"
    dynamo = "dynamo"
    tracing = "tracing"


class Colour(str, Enum):
    """Order of the colours."""

    bgr = "BGR"
    rgb = "RGB"


class Layout(str, Enum):
    """Order of the axes."""

    nhwc = "NHWC"
    nchw = "NCHW"


class Resize(str, Enum):
    """How a picture gets the input's shape."""

    stretch = "stretch"
    crop = "crop"


Out = Annotated[Path, typer.Argument(help="A folder for the part of a bundle, or NAME.onnx for the network alone.")]
Training = Annotated[Path, typer.Argument(help="Folder of a finished training.")]
PerKind = Annotated[int, typer.Option(min=5, help="Rendered frames of each kind to fit to, and as many to test on.")]
Factory = Annotated[str, typer.Argument(help="MODULE:FACTORY, called without arguments; looked for in the working folder, too.")]
RoleOption = Annotated[Role | None, typer.Option(help="What it is for; needed for a part of a bundle.")]
Fields = Annotated[Path | None, typer.Option(help="JSON with the role's other fields: card, labels … as in a manifest.")]


def _failed(command: str, problem: TrichoscopeError) -> typer.Exit:
    Console(stderr=True).print(f"convert {command}: {problem}", markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(1)


@app.command()
def segmenter(
    training: Training,
    out: Out,
    per_kind: PerKind = 60,
) -> None:
    """Convert a segmenter's training: its averaged network, proven against PyTorch at several sizes, measured, its trust fitted."""
    from export.conversion.part import write_part
    from export.conversion.trainings import convert_training
    from runtime.commands.files import write_atomically

    try:
        _check_out(out)
        if out.suffix == ".onnx":
            from export.conversion.onnx_graph import live_onnx, parity
            from export.conversion.segmenter import trained_network

            network, _ = trained_network(training)
            model = live_onnx(network)
            differences = parity(network, model)
            write_atomically(out, model)
            _told(out, differences)
            return
        part = convert_training("segmenter", training, per_kind=per_kind)
        write_part(out, part)
    except TrichoscopeError as problem:
        raise _failed("segmenter", problem) from problem
    _told(out, _parity(part.role.metrics))


def _of_training(role: Role) -> None:
    """Adds the command that converts trainings of this role."""

    def command(training: Training, out: Out, per_kind: PerKind = 60) -> None:
        from export.conversion.part import check_part_target, write_part
        from export.conversion.trainings import convert_training

        try:
            check_part_target(out)
            part = convert_training(role.value, training, per_kind=per_kind)
            write_part(out, part)
        except TrichoscopeError as problem:
            raise _failed(role.value, problem) from problem
        _told(out, _parity(part.role.metrics))

    app.command(role.value, help=f"Convert a training of the role {role.value} to a part of a bundle, proven against its original.")(
        command
    )


for _role in (Role.severity, Role.conditions, Role.forecast, Role.stage):
    _of_training(_role)


app.command("u2net")(convert_u2net.u2net)
app.command("sam")(convert_sam.sam)


@app.command("torch")
def torch_(
    factory: Factory,
    out: Out,
    input_: Annotated[list[str], typer.Option("--input", help="NAME:SHAPE[:DTYPE], again for each, as picture:1x3x256x256:float32.")],
    output: Annotated[list[str], typer.Option(help="Name of an output, again for each, in the network's order.")],
    checkpoint: Annotated[Path | None, typer.Option(help="Weights: PyTorch's or a safetensors file; nothing in it is run.")] = None,
    dynamic_batch: Annotated[bool, typer.Option("--dynamic-batch", help="Axis 0 of each input may vary.")] = False,
    dynamic: Annotated[list[str] | None, typer.Option(help="NAME:AXIS=LABEL: another axis that may vary.")] = None,
    exporter: Annotated[Exporter, typer.Option(help="auto: dynamo where it is right and installed.")] = Exporter.auto,
    colour: Annotated[Colour, typer.Option(help="Colours as the network takes them.")] = Colour.rgb,
    layout: Annotated[Layout, typer.Option(help="Axes as the network takes them.")] = Layout.nchw,
    resize: Annotated[Resize, typer.Option(help="How pictures get the input's shape.")] = Resize.stretch,
    scale: Annotated[float, typer.Option(help="Bytes are multiplied by it: 1/255 is 0.00392156862745098.")] = 1.0,
    mean: Annotated[tuple[float, float, float], typer.Option(help="Taken from each colour, after the scale.")] = (0.0, 0.0, 0.0),
    std: Annotated[tuple[float, float, float], typer.Option(help="Each colour is divided by it.")] = (1.0, 1.0, 1.0),
    role: RoleOption = None,
    fields: Fields = None,
) -> None:
    """Convert your own PyTorch network: exported, slimmed, checked, and held to PyTorch's numbers at several shapes."""
    from export.conversion import own
    from export.conversion.loading import network_from
    from export.conversion.torch_graph import network_onnx, parse_axes, parse_input, torch_parity
    from runtime.bundles.graph import read_graph

    try:
        _check_out(out, role)
        inputs = [parse_input(text) for text in input_]
        axes = parse_axes(dynamic or [], inputs, dynamic_batch=dynamic_batch)
        picture = own.picture_input(inputs, colour=colour.value, layout=layout.value, resize=resize.value, scale=scale, mean=mean, std=std)
        given = own.read_fields(fields)
        network = network_from(factory, checkpoint)
        model = network_onnx(network, inputs, output, axes=axes, exporter=exporter.value)
        read_graph(model, "the graph")  # its operators are those that a device takes
        differences = torch_parity(network, model, inputs, output, axes=axes)
        _write(out, model, role, inputs, picture, given, differences)
    except TrichoscopeError as problem:
        raise _failed("torch", problem) from problem
    _told(out, differences)


@app.command()
def sklearn(
    factory: Factory,
    out: Out,
    features: Annotated[int, typer.Option(min=1, max=4096, help="How many columns it was fitted on.")],
    name: Annotated[str, typer.Option(help="Name of the input.")] = "features",
    role: RoleOption = None,
    fields: Fields = None,
) -> None:
    """Convert a fitted scikit-learn estimator that your factory returns; none is ever unpickled here."""
    from export.conversion import own
    from export.conversion.loading import made_by
    from export.conversion.sklearn_graph import proven_parity, sklearn_onnx
    from export.conversion.torch_graph import TensorSpec
    from runtime.bundles.graph import read_graph

    try:
        _check_out(out, role)
        given = own.read_fields(fields)
        estimator = made_by(factory)
        model = sklearn_onnx(estimator, features, input_name=name)
        read_graph(model, "the graph")  # its operators are those that a device takes
        differences = proven_parity(estimator, model)
        _write(out, model, role, [TensorSpec(name, (16, features))], None, given, differences)
    except TrichoscopeError as problem:
        raise _failed("sklearn", problem) from problem
    _told(out, differences)


def _check_out(out: Path, role: Role | None = Role.segmenter) -> None:
    """Raises ConversionError where nothing can be written there: asked before anything is computed."""
    from export.conversion.part import check_part_target
    from export.errors import ConversionError

    if out.suffix == ".onnx":
        if out.is_dir() or not out.parent.is_dir():
            raise ConversionError(f"{out}: no file can be there: name one in a folder that exists")
    elif role is None:
        raise ConversionError(f"{out}: a part of a bundle needs --role: name it, or NAME.onnx for the network alone")
    else:
        check_part_target(out)


def _write(
    out: Path,
    model: bytes,
    role: Role | None,
    inputs: list[TensorSpec],
    picture: PictureInput | None,
    fields: dict[str, object],
    differences: Mapping[str, float],
) -> None:
    """The network alone with how its pictures are fed beside it, or the part of a bundle."""
    from export.conversion import own
    from export.conversion.part import write_part
    from runtime.commands.files import write_atomically

    if out.suffix != ".onnx" and role is not None:
        metrics = {f"parity_{name}": round(value, 9) for name, value in differences.items()}
        write_part(out, own.own_part(role.value, model, inputs, picture, fields, metrics=metrics))
        return
    write_atomically(out, model)
    if picture is not None:
        write_atomically(out.with_suffix(".json"), (picture.model_dump_json(indent=1) + "\n").encode())


def _parity(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name.removeprefix("parity_"): value for name, value in metrics.items() if name.startswith("parity_")}


def _told(out: Path, differences: Mapping[str, float]) -> None:
    """One line for people and machines: where it is, and the greatest difference of each output from the original."""
    typer.echo(json.dumps({"written": str(out), "parity": {name: float(f"{value:.3g}") for name, value in differences.items()}}))
