"""What is in a bundle's files, looked over before any library parses them: kinds of files, graphs that fit their roles, golden data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from runtime.bundles.errors import BundleError
from runtime.bundles.golden import unpack
from runtime.bundles.graph import Graph, read_graph
from runtime.bundles.interface import NUMPY, Interface, Network, networks_of
from runtime.bundles.manifest import Manifest

EMBEDDING = "embedding"
SUFFIXES = frozenset({".onnx", ".npz", ".json", ".md", ".txt", ".csv", ".svg", ".png", ".jpg"})
"""No pickle, no Python, no engine: nothing that is run, and engines are made on the device."""


def check_content(manifest: Manifest, content: Mapping[str, bytes], where: str) -> dict[str, Graph]:
    """The graphs by file name, after everything was looked over. `content` is verified; `where` names the bundle in errors.

    Raises:
        BundleError: a file of a kind that has no place, a graph that a bundle may not hold or that does not fit its role, golden data
            that is not the graph's.
    """
    for name in content:
        if PurePath(name).suffix.lower() not in SUFFIXES:
            raise BundleError(f"{where}/{name}: files of this kind have no place in a bundle: leave it out")
    graphs: dict[str, Graph] = {}
    for label, role in manifest.roles.present().items():
        for network in networks_of(role):
            called = f"{label}'s {network.label}" if network.label else label
            for file in (network.model, *(variant.model for variant in network.variants)):
                if file not in graphs:
                    graphs[file] = read_graph(content[file], f"{where}/{file}")
                _check_fit(network.interface, graphs[file], f"{where}/{file}: the {called}")
            _check_golden(network, graphs[network.model], content[network.golden.file], f"{where}/{network.golden.file}")
    refiner = manifest.roles.refiner
    if refiner is not None and refiner.decoder is not None:
        for file in (refiner.model, *(variant.model for variant in refiner.variants)):
            _check_pair(graphs[file], graphs[refiner.decoder], f"{where}/{refiner.decoder}")
    return graphs


def _check_pair(encoder: Graph, decoder: Graph, where: str) -> None:
    """Whether a decoder takes what its encoder gives; both have been found to have an embedding."""
    given, taken = encoder.outputs[EMBEDDING].shape, decoder.inputs[EMBEDDING].shape
    if given is None or given != taken:
        raise BundleError(f"{where}: it takes an embedding {taken}, the encoder gives {given}: take both from one conversion")


def _check_fit(wanted: Interface, graph: Graph, where: str) -> None:
    remedy = "convert the network again for this role"
    if graph.inputs.keys() != wanted.inputs.keys():
        raise BundleError(f"{where}: its inputs are {_listed(graph.inputs)}, {_listed(wanted.inputs)} are expected: {remedy}")
    for name, (kind, rank) in wanted.inputs.items():
        found = graph.inputs[name]
        if found.kind != kind or found.shape is None or len(found.shape) != rank:
            sides = "unknown" if found.shape is None else len(found.shape)
            raise BundleError(
                f"{where}: input {name} has element type {found.kind} and {sides} sides, {NUMPY[kind]} ({kind}) and {rank} are expected: "
                f"{remedy}"
            )
    if missing := wanted.outputs - graph.outputs.keys():
        raise BundleError(f"{where}: its outputs are {_listed(graph.outputs)}, {_listed(missing)} is missing: {remedy}")


def _check_golden(network: Network, graph: Graph, content: bytes, where: str) -> None:
    remedy = "make the bundle again"
    held = {tolerance.output for tolerance in network.golden.tolerances}
    for variant in network.variants:
        if {tolerance.output for tolerance in variant.tolerances} != held:
            raise BundleError(f"{where}: tolerances of {variant.precision} are not for the same outputs: {remedy}")
    if held - graph.outputs.keys():
        raise BundleError(f"{where}: tolerances for {_listed(held - graph.outputs.keys())}, which the network does not give: {remedy}")
    for number, case in enumerate(unpack(content, where)):
        if case.inputs.keys() != graph.inputs.keys():
            raise BundleError(f"{where}: case {number} has the inputs {_listed(case.inputs)}, the network others: {remedy}")
        if case.outputs.keys() != held:
            raise BundleError(f"{where}: case {number} has the outputs {_listed(case.outputs)}, the tolerances others: {remedy}")
        for name, array in case.inputs.items():
            expected = graph.inputs[name]
            if NUMPY.get(expected.kind) != array.dtype.name or array.ndim != len(expected.shape or ()):
                raise BundleError(
                    f"{where}: case {number}: input {name}: {array.dtype} {array.shape} is not what the network takes: {remedy}"
                )


def _listed(names: Mapping[str, object] | set[str] | frozenset[str]) -> str:
    return ", ".join(sorted(name[:64] for name in names)) or "none"
