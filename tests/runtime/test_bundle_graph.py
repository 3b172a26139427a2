import resource
import struct

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.bundles.errors import BundleError
from runtime.bundles.graph import read_graph
from runtime.bundles.interface import interface_of
from runtime.bundles.reader import FACTORY, read_bundle
from runtime.bundles.wire import MAX_FIELDS, MAX_RUN, Field, Span, Wire
from tests.runtime.bad_graphs import ML, floats, trees
from tests.runtime.bundle_samples import FLOAT, UINT8, _field, _value, _varint, dark_is_hair

GOOD = dark_is_hair()
GOOD_ENDS = _value(11, "picture", UINT8, [1]) + _value(12, "picture", UINT8, [1])


def test_what_a_graph_takes_and_gives():
    graph = read_graph(GOOD, "here")
    assert (graph.ir, graph.opsets, graph.weights) == (8, {"": 17}, 2)
    assert {name: (value.kind, value.shape) for name, value in graph.inputs.items()} == {"picture": (UINT8, (1, None, None, 3))}
    assert {name: value.shape for name, value in graph.outputs.items()} == {
        "hair": (1, 1, None, None),
        "marks": (1, 3, None, None),
        "features": (1, 3),
    }
    assert graph.operators["ai.onnx.ReduceMean"] == 2
    assert set(graph.outputs.values()) and all(value.kind == FLOAT for value in graph.outputs.values())


def test_the_factory_fits_its_roles():
    bundle = read_bundle(FACTORY)
    for role in bundle.manifest.roles.present().values():
        graph = read_graph(bundle.content[role.model], role.model)
        session = onnxruntime.InferenceSession(bundle.content[role.model], providers=["CPUExecutionProvider"])
        assert {entry.name for entry in session.get_inputs()} == set(graph.inputs) == set(interface_of(role).inputs)
        assert {entry.name for entry in session.get_outputs()} == set(graph.outputs) >= interface_of(role).outputs


def test_a_graph_that_is_taken_is_one_that_onnx_runtime_takes():
    for model in (GOOD, dark_is_hair(opsets=ML, more=trees())):
        assert read_graph(model, "here").inputs.keys() == {"picture"}
        onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def test_an_endless_threshold_of_a_tree_is_taken_and_none_that_is_no_number():
    assert read_graph(dark_is_hair(opsets=ML, more=trees(nodes_values=floats("nodes_values", float("inf"), 0.0, 0.0))), "here")
    with pytest.raises(BundleError, match="no finite numbers"):
        read_graph(dark_is_hair(opsets=ML, more=trees(nodes_values=floats("nodes_values", float("nan"), 0.0, 0.0))), "here")


NUMBERS = {1: Field("numbers", "numbers")}
some_numbers = st.lists(st.integers(min_value=0, max_value=2**64 - 1), max_size=60)


@given(some_numbers, st.booleans())
def test_numbers_are_read_packed_and_unpacked(numbers, packed):
    data = _field(1, b"".join(map(_varint, numbers))) if packed else b"".join(_varint(8) + _varint(n) for n in numbers)
    wire = Wire(data, "here")
    found = wire.message(Span(0, len(data)), NUMBERS, "it")
    assert wire.numbers(found.get("numbers", [])).tolist() == numbers


@given(st.lists(st.floats(width=32), max_size=40), st.lists(st.floats(), max_size=40), st.booleans())
def test_floats_and_doubles_are_read_packed_and_unpacked(floats_, doubles, packed):
    if packed:
        data = _field(1, struct.pack(f"<{len(floats_)}f", *floats_)) + _field(2, struct.pack(f"<{len(doubles)}d", *doubles))
    else:
        data = b"".join(b"\x0d" + struct.pack("<f", x) for x in floats_) + b"".join(b"\x11" + struct.pack("<d", x) for x in doubles)
    wire = Wire(data, "here")
    found = wire.message(Span(0, len(data)), {1: Field("f", "floats"), 2: Field("d", "doubles")}, "it")
    assert np.array_equal(wire.floats(found.get("f", [])), np.array(floats_, np.float32), equal_nan=True)
    assert np.array_equal(wire.doubles(found.get("d", [])), np.array(doubles, np.float64), equal_nan=True)


@given(st.lists(st.text(max_size=60), max_size=30))
def test_texts_are_read(texts):
    data = b"".join(_field(1, text) for text in texts)
    wire = Wire(data, "here")
    assert wire.message(Span(0, len(data)), {1: Field("t", "texts")}, "it").get("t", []) == texts


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_any_bytes_are_no_graph(data):
    with pytest.raises(BundleError):
        read_graph(data, "here")


def _read_or_refused(data):
    try:
        read_graph(data, "here")
    except BundleError as problem:
        assert "here: " in str(problem)


@settings(max_examples=250)
@given(st.integers(min_value=0), st.binary(max_size=12), st.integers(min_value=0, max_value=12))
def test_a_graph_with_other_bytes_is_read_or_refused(at, more, cut):
    for model in (GOOD, WITH_TREES):
        place = at % (len(model) + 1)
        _read_or_refused(model[:place] + more + model[place + cut :])


WITH_TREES = dark_is_hair(opsets=ML, more=trees())

fields = st.recursive(
    st.binary(max_size=12) | st.integers(min_value=0, max_value=2**64 - 1),
    lambda inner: st.lists(st.tuples(st.integers(min_value=1, max_value=27), inner), max_size=6).map(
        lambda pairs: b"".join(_field(number, content) for number, content in pairs)
    ),
    max_leaves=30,
)


@settings(max_examples=80)
@given(st.lists(st.tuples(st.sampled_from([1, 2, 5, 7, 8, 11, 12, 13, 14]), fields), max_size=8))
def test_messages_of_other_shapes_are_read_or_refused(pairs):
    body = b"".join(_field(number, content) for number, content in pairs)
    for data in (
        body,
        dark_is_hair(more=body),
        dark_is_hair(beside=body),
        dark_is_hair(more=_field(1, body)),
        dark_is_hair(more=_field(5, body)),
    ):
        _read_or_refused(data)


GREEDY = {
    "fields without end": (b"\x12\x00" * (MAX_FIELDS + 1), "comes twice"),
    "imports without end": (_field(8, _field(2, 17)) * (MAX_FIELDS + 1), "more than .* fields"),
    "numbers without end": (b"\x08\x01" * 4_000_000, "comes twice"),
    "nodes without end": (_field(1, 8) + _field(8, _field(2, 17)) + _field(7, GOOD_ENDS + _field(1, b"") * 20_001), "20001 nodes"),
    "weights without end": (_field(1, 8) + _field(8, _field(2, 17)) + _field(7, _field(5, b"") * (MAX_FIELDS + 1)), "more than .* fields"),
    "sides without end": (dark_is_hair(more=_field(5, _field(1, b"\x01" * 8_000_000) + _field(2, 1))), "bytes of whole numbers"),
    "many sides": (dark_is_hair(more=_field(5, _field(1, b"\x01" * 4_000_000) + _field(2, 1))), "4000000 dimensions"),
    "halves": (dark_is_hair(more=_field(5, _field(1, 8) + _field(2, 10) + _field(5, b"\x01" * 4_000_000))), "says 8 elements"),
    "sides one by one": (dark_is_hair(more=_field(5, b"\x08\x01" * 2_000_000 + _field(2, 1))), "2000000 dimensions"),
}


@pytest.mark.parametrize("what", GREEDY)
def test_a_greedy_file_takes_no_memory(what):
    data, message = GREEDY[what]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BundleError, match=message):
        read_graph(data, "here")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024  # KiB


def test_long_runs_are_read_whole():
    count = 2 * MAX_RUN + 7
    data = b"".join(b"\x08" + _varint(n) for n in range(count)) + b"".join(_field(2, "LEAF") for _ in range(count))
    wire = Wire(data, "here")
    found = wire.message(Span(0, len(data)), {1: Field("n", "numbers"), 2: Field("t", "blobs")}, "it")
    assert np.array_equal(wire.numbers(found["n"]), np.arange(count))
    assert sum(span.end - span.start for span in found["t"]) == count * 6
    assert len(found["n"]) == len(found["t"]) == 3
