"""Tree ensembles of ai.onnx.ml: lists as long as each other, nodes in order, children behind their parents: nothing runs in circles."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundles.wire import Wire

MAX_FEATURES = 4096
OF_NODES = ("nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids")
BRANCHES = (b"BRANCH_LEQ", b"BRANCH_LT", b"BRANCH_GTE", b"BRANCH_GT", b"BRANCH_EQ", b"BRANCH_NEQ")
MODE = re.compile(b"J(?:\\x04(LEAF)|" + b"|".join(re.escape(bytes([len(mode)])) + mode for mode in BRANCHES) + b")")
"""A text of the list `strings` (field 9) that is a node's mode; its group is filled for leaves."""
Numbers = NDArray[np.int64]


def check_trees(wire: Wire, attributes: dict[str, dict[str, Any]], leaf: str) -> int:
    """Check the attributes of a TreeEnsembleClassifier or Regressor; the largest feature that it asks for, from 0.

    Args:
        attributes: of the node, by name, as the table of attributes reads them.
        leaf: "class" or "target": how the lists of what leaves give are called.

    Raises:
        BundleError: the lists do not fit each other, or a child is not behind its parent in its tree.
    """
    trees, nodes, features, when_true, when_false = (_ints(wire, attributes, name) for name in OF_NODES)
    leaves = _leaves(wire, attributes)
    values = wire.floats(attributes.get("nodes_values", {}).get("floats", []))
    count = nodes.size
    if not count or {trees.size, features.size, when_true.size, when_false.size, leaves.size, values.size} != {count}:
        raise wire.refuse("a tree ensemble whose lists are not as long as each other")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(trees)) + 1])
    sizes = np.diff(np.append(starts, count))
    if not np.array_equal(trees[starts], np.arange(starts.size)) or not np.array_equal(nodes, np.arange(count) - np.repeat(starts, sizes)):
        raise wire.refuse("a tree ensemble whose trees and nodes are not numbered in order")
    size = np.repeat(sizes, sizes)
    for child in (when_true, when_false):
        if np.any(~leaves & ((child <= nodes) | (child >= size))):
            raise wire.refuse("a tree in which a child is not behind its parent")
    of_tree, of_node, kind = (_ints(wire, attributes, f"{leaf}_{name}") for name in ("treeids", "nodeids", "ids"))
    weights = wire.floats(attributes.get(f"{leaf}_weights", {}).get("floats", []))
    if {of_tree.size, of_node.size, kind.size} != {weights.size}:
        raise wire.refuse("a tree ensemble whose leaves' lists are not as long as each other")
    if np.any(of_tree >= starts.size) or np.any(of_node >= sizes[of_tree]) or not leaves[starts[of_tree] + of_node].all():
        raise wire.refuse("a tree ensemble that gives something for a leaf that is not there")
    highest = int(features.max())
    if highest >= MAX_FEATURES or int(kind.max(initial=0)) >= MAX_FEATURES:
        raise wire.refuse(f"a tree ensemble with more than {MAX_FEATURES} features or classes")
    return highest


def _ints(wire: Wire, attributes: dict[str, dict[str, Any]], name: str) -> Numbers:
    found = wire.numbers(attributes.get(name, {}).get("ints", []))
    if found.size and int(found.max()) >= 2**31:
        raise wire.refuse(f"a tree ensemble with a number in {name} that cannot be")
    return found.astype(np.int64)


def _leaves(wire: Wire, attributes: dict[str, dict[str, Any]]) -> NDArray[np.bool_]:
    """Which nodes are leaves, bool (n,)."""
    found: list[bytes] = []
    for span in attributes.get("nodes_modes", {}).get("strings", []):
        content = wire.data[span.start : span.end]
        if not span.run or MODE.sub(b"", content):
            raise wire.refuse("a tree ensemble with a mode that cannot be")
        found += MODE.findall(content)
    return np.array(found, "S4") == b"LEAF" if found else np.zeros(0, np.bool_)
