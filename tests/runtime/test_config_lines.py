"""The line of every key of a TOML text, held against texts whose lines are known because they were written one by one."""

import datetime
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.toml_text import TomlTextError, key_lines, line_of, parse_toml

NAMES = st.sampled_from(["a", "b-1", "c_c", "7", "with space", "dot.ted", 'quo"ted', "ä", "#no comment", "a]b", "x=y", ""])
STRINGS = st.sampled_from(
    [
        '"plain"',
        "'literal \\'",
        '"# [no] = table"',
        '"esc \\" aped\\n"',
        '"""\nthree\n"quoted" # [lines]\n"""',
        "'''\n[x]\n'y' = 1'''",
        '""""two quotes"""""',
    ]
)
SCALARS = st.sampled_from(["1", "-1.5e3", "true", "inf", "1979-05-27T07:32:00Z", "1979-05-27 07:32:00", "07:32:00", "0xff", "1_000"])
BLANKS = st.sampled_from(["", "\n", "# [comment] = 1\n", "\n# 'x\n\n", "\t\n"])


def written(name, quoted):
    """A key as TOML, quoted where it must be or where asked for."""
    bare = name and all(c.isascii() and (c.isalnum() or c in "-_") for c in name)
    return name if bare and not quoted else json.dumps(name, ensure_ascii=False)


class Text:
    def __init__(self):
        self.text = ""
        self.lines = {}

    def add(self, text):
        self.text += text

    def note(self, path):
        self.lines.setdefault(path, self.text.count("\n") + 1)


def add_value(draw, out, path, depth):
    kind = draw(st.sampled_from(["scalar", "string", "array", "inline"] if depth < 2 else ["scalar", "string"]))
    if kind == "array":
        out.add("[")
        for i in range(draw(st.integers(0, 3))):
            out.add(draw(BLANKS))
            out.note((*path, i))
            add_value(draw, out, (*path, i), depth + 1)
            out.add(draw(st.sampled_from([",", " , ", ",\n", " # , ]\n,"])))
        out.add(draw(BLANKS) + "]")
    elif kind == "inline":
        out.add("{ ")
        for i, name in enumerate(draw(st.lists(NAMES, unique=True, max_size=3))):
            out.add(", " if i else "")
            out.note((*path, name))
            out.add(written(name, draw(st.booleans())) + " = ")
            add_inline_value(draw, out, (*path, name), depth + 1)
        out.add(" }")
    else:
        out.add(draw(STRINGS if kind == "string" else SCALARS))


def add_inline_value(draw, out, path, depth):
    """Inside an inline table a value must not break the line unless its own syntax allows it: strings and scalars do."""
    out.add(draw(STRINGS | SCALARS))


def add_pairs(draw, out, table, taken):
    for name in draw(st.lists(NAMES, unique=True, max_size=4)):
        if (*table, name) in taken:
            continue
        taken.add((*table, name))
        out.add(draw(BLANKS) + draw(st.sampled_from(["", "  ", "\t"])))
        path = (*table, name)
        out.note(path)
        out.add(written(name, draw(st.booleans())))
        if draw(st.integers(0, 3)) == 0:  # a dotted key
            path = (*path, "sub")
            out.note(path)
            out.add(draw(st.sampled_from([".", " . "])) + "sub")
        out.add(draw(st.sampled_from([" = ", "=", "  =\t"])))
        add_value(draw, out, path, 0)
        out.add(draw(st.sampled_from(["\n", " # = [x]\n", "\r\n"])))


@st.composite
def documents(draw):
    """A TOML text and the line of each of its keys."""
    out, taken = Text(), set()
    add_pairs(draw, out, (), taken)
    for name in draw(st.lists(NAMES, unique=True, max_size=4)):
        if (name,) in taken:
            continue
        taken.add((name,))
        entries = draw(st.integers(0, 2))  # 0: a table; otherwise so many entries of an array of tables
        for number in range(max(1, entries)):
            out.add(draw(BLANKS))
            table = (name, number) if entries else (name,)
            out.note((name,))
            out.note(table)
            key = written(name, draw(st.booleans()))
            out.add((f"[[ {key} ]]" if entries else f"[{key}]") + draw(st.sampled_from(["\n", " # x\n"])))
            add_pairs(draw, out, table, taken)
            if (*table, "under") not in taken and draw(st.booleans()):
                taken.add((*table, "under"))
                out.note((*table, "under"))
                out.add(f"[{key}.under]\n")
                add_pairs(draw, out, (*table, "under"), taken)
    if draw(st.booleans()):
        out.text = out.text.rstrip("\r\n") if not out.text.rstrip("\r\n").endswith('"""') else out.text
    return out.text, out.lines


def paths_of(value, path=()):
    """Every key path in what the parser read."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in entries:
        yield (*path, key)
        yield from paths_of(below, (*path, key))


@given(document=documents())
def test_every_key_has_the_line_on_which_it_was_written(document):
    text, lines = document
    assert key_lines(text) == lines
    assert set(paths_of(parse_toml(text))) == set(lines)


@given(text=st.text(alphabet="a=[]{}\"'\n#., \\1", max_size=60))
def test_what_is_not_toml_does_no_harm(text):
    lines = key_lines(text)
    try:
        parsed = parse_toml(text)
    except TomlTextError as error:
        assert 1 <= error.line <= text.count("\n") + 1
    else:
        assert set(paths_of(parsed)) == set(lines)


def test_the_nearest_table_stands_in_for_a_key_that_is_not_there():
    lines = key_lines("\n[a]\nb = 1\n")
    assert line_of(lines, ("a", "b")) == 3
    assert line_of(lines, ("a", "missing")) == 2
    assert line_of(lines, ("z",)) is None


def test_a_date_and_its_time_are_one_value():
    text = "a = [1979-05-27 07:32:00, 1]\nb = 1\n"
    assert parse_toml(text)["a"] == [datetime.datetime(1979, 5, 27, 7, 32), 1]
    assert key_lines(text) == {("a",): 1, ("a", 0): 1, ("a", 1): 1, ("b",): 2}


@pytest.mark.parametrize("text", ["[" * 60_000, "a = " + "{b=" * 20_000, "a." * 30_000 + "a = 1", '"' * 60_000, "# " * 30_000])
def test_hostile_texts_end_soon(text):
    key_lines(text)
