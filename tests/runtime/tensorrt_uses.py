"""What a program uses of TensorRT's API, and whether a version has it: its source is read, not run.

Where an object comes from decides what it is: `trt.X` is the module's, variables are of the class that OBJECTS names for them, a method's
result is of the class that its signature names. Everything else is not looked at, so every TensorRT object must have a name in OBJECTS.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Api = Mapping[str, Any]

OBJECTS = {
    "builder": "Builder",
    "config": "IBuilderConfig",
    "context": "IExecutionContext",
    "engine": "ICudaEngine",
    "entry": "ITensor",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "runtime": "Runtime",
    "taken": "ITimingCache",
    "timing_cache": "ITimingCache",
}
"""Variables and attributes (without a leading underscore) of the worker, and their class."""

GATED = {"BuilderFlag.FP16": "11", "BuilderFlag.INT8": "11"}
"""What is used only inside `if hasattr(trt.CLASS, "NAME")`, and the version from which it is gone."""

NAMES_IN_C = {"nvonnxparser::IParserError": "ParserError"}


@dataclass(frozen=True)
class Use:
    """`what` is used in a line: a name of the module, CLASS.MEMBER, or a call of one with so many arguments."""

    line: int
    what: str
    positional: int | None = None
    keywords: tuple[str, ...] = ()
    result: str | None = None
    guards: tuple[str, ...] = ()


def complaints(source: str, api: Api) -> list[str]:
    """What `source` uses that this version has not, or has with other arguments, results or guards."""
    found = []
    for use in uses(source, api):
        known, found_as = _known(use.what, api)
        if use.what in GATED and use.what not in use.guards:
            found.append(f"line {use.line}: {use.what} is used without asking for it")
        elif not known:
            if use.what not in GATED or not api["__version__"].startswith(GATED[use.what]):
                found.append(f"line {use.line}: {use.what} is not there")
        elif use.positional is not None:
            found += [f"line {use.line}: {use.what}: {why}" for why in _call(use, found_as)]
    return found


def uses(source: str, api: Api) -> Iterator[Use]:
    """Every use, in the order of the syntax tree."""
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from _overridden(node)
        if not isinstance(node, ast.Attribute):
            continue
        owner = _class_of(node.value, api)
        if owner is None or not isinstance(api.get(owner, {}), dict):  # a member of a number or a text
            continue
        what = node.attr if owner == "" else f"{owner}.{node.attr}"
        call, guards = parents[node], tuple(_guards(node, parents))
        if isinstance(call, ast.Call) and call.func is node:
            result = _target(parents[call]) if not isinstance(parents[call], ast.Call) else None
            keywords = tuple(str(keyword.arg) for keyword in call.keywords)
            unbound = node.attr == "__init__"  # called on the class, with self
            yield Use(node.lineno, what, len(call.args) - unbound, keywords, result, guards)
        else:
            yield Use(node.lineno, what, guards=guards)


def parameters(signature: str) -> list[tuple[str, bool]]:
    """Of a pybind signature, without `self`: names, and whether each has a default. Raises ValueError where it is none."""
    match = re.search(r"\w+\((.*)\) -> ", signature)
    if match is None:
        raise ValueError(f"no signature: {signature[:80]!r}")
    inside, parts, depth = match[1], [""], 0
    for character in inside:
        depth += (character in "[(<") - (character in "])>")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    named = [part.partition(":") for part in parts if part.strip()]
    return [(name.strip(), "=" in kind) for name, _, kind in named if name.strip() != "self"]


def _known(what: str, api: Api) -> tuple[bool, str]:
    """Whether the version has it, and what it says of it; of a class, what its constructor says."""
    owner, _, member = what.partition(".")
    if owner not in api:
        return False, ""
    entry = api[owner]
    if member:
        return member in entry.get("members", {}), entry.get("members", {}).get(member, "")
    if isinstance(entry, str):
        return True, ""
    return True, entry["members"].get("__init__", "") if entry["kind"] == "class" else entry["doc"]


def _call(use: Use, said: str) -> Iterator[str]:
    signatures = [line for line in said.splitlines() if re.search(r"\w+\(.*\) -> ", line)]
    if not signatures:
        if use.what != "nptype":  # plain Python, without a signature in its text
            yield f"no signature to hold the call against: {said[:60]!r}"
        return
    for signature in signatures:
        known = parameters(signature)
        needed = sum(not default for _, default in known)
        names = [name for name, _ in known]
        count = (use.positional or 0) + len(use.keywords)
        if needed <= count <= len(known) and set(use.keywords) <= set(names[use.positional :]):
            result = _result(signature)
            if use.result is not None and result != "None" and OBJECTS.get(use.result, result) != result:
                yield f"gives {result}, {use.result} is said to be {OBJECTS[use.result]}"
            return
    yield f"{use.positional} arguments and {list(use.keywords)} do not fit {signatures[0][:200]}"


def _result(signature: str) -> str:
    named = signature.rpartition(" -> ")[2].strip()
    return NAMES_IN_C.get(named, named.rpartition(".")[2])


def _class_of(node: ast.expr, api: Api) -> str | None:
    """The class of what an expression gives, "" for the module, None for what is not TensorRT's."""
    if isinstance(node, ast.Name):
        return "" if node.id == "trt" else OBJECTS.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _class_of(node.value, api)
        if owner == "":
            return node.attr
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            return OBJECTS.get(node.attr.lstrip("_"))
        return None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        owner = _class_of(node.func.value, api)
        if owner:
            said = _known(f"{owner}.{node.func.attr}", api)[1]
            signature = next((line for line in said.splitlines() if " -> " in line), "")
            found = _result(signature) if signature else ""
            return found if found in api else None
    return None


def _target(node: ast.AST) -> str | None:
    """The variable that an assignment gives a value to."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.NamedExpr) else []
    names = [target.id if isinstance(target, ast.Name) else getattr(target, "attr", "").lstrip("_") for target in targets]
    return next((name for name in names if name in OBJECTS), None)


def _guards(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> Iterator[str]:
    """The members that `if hasattr(trt.CLASS, "NAME")` around it asks for, where it lies in the body."""
    child, parent = node, parents.get(node)
    while parent is not None:
        if isinstance(parent, ast.If) and child in parent.body:
            for test in ast.walk(parent.test):
                if isinstance(test, ast.Call) and getattr(test.func, "id", "") == "hasattr":
                    yield f"{getattr(test.args[0], 'attr', '')}.{getattr(test.args[1], 'value', '')}"
        child, parent = parent, parents.get(parent)


def _overridden(node: ast.ClassDef) -> Iterator[Use]:
    """Methods that a class of ours gives a class of TensorRT's, with the names of their parameters."""
    bases = [base.attr for base in node.bases if isinstance(base, ast.Attribute) and getattr(base.value, "id", "") == "trt"]
    for base in bases:
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                names = tuple(argument.arg for argument in method.args.args[1:])
                yield Use(method.lineno, f"{base}.{method.name}", 0, names)
