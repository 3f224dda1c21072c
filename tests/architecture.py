"""The checks of test_architecture.py as functions from a source file to the lines that break a rule.

Rule: nothing here knows this repository's tables; what is allowed is an argument, so that each check can be shown
to fail on a planted source.
Flow: path and text -> Source (parsed once) -> check(source, table) -> ["path:line: what is wrong", …].
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

OURS = ("crypto", "gossip", "docker_plugin", "meshnet", "bench", "tests")

IMPURE_MODULES = frozenset(
    [
        "asyncio",
        "concurrent",
        "datetime",
        "fcntl",
        "http",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "platform",
        "queue",
        "random",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "socketserver",
        "sqlite3",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "urllib",
        "uuid",
        "uvloop",
    ]
)
IMPURE_CALLS = ("open", "print", "input", "breakpoint", "exec", "eval", "__import__")


@dataclass(frozen=True)
class Import:
    """One imported name: `module` is the dotted module, `line` where, `typing` whether under TYPE_CHECKING."""

    module: str
    line: int
    top: bool
    typing: bool


@dataclass(frozen=True)
class Source:
    """One Python file. `path` is relative to the repository's top, with slashes."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @property
    def module(self) -> str:
        """The dotted name: `crypto/noise.py` -> crypto.noise, `gossip/ipam/__init__.py` -> gossip.ipam.__init__."""
        return self.path.removesuffix(".py").replace("/", ".")

    @cached_property
    def imports(self) -> list[Import]:
        return list(self._imports(self.tree.body, top=True, typing=False))

    def _imports(self, body: Sequence[ast.AST], *, top: bool, typing: bool) -> Iterator[Import]:
        for node in body:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(alias.name, node.lineno, top, typing)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield Import(self._from(node, alias.name), node.lineno, top, typing)
            elif isinstance(node, ast.If) and is_type_checking(node.test):
                yield from self._imports(node.body, top=top, typing=True)
                yield from self._imports(node.orelse, top=top, typing=typing)
            else:
                inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from self._imports(list(ast.iter_child_nodes(node)), top=top and not inside, typing=typing)

    def _from(self, node: ast.ImportFrom, name: str) -> str:
        """`from a import b` may import the module a.b or a name of a: kept dotted, judged by longest prefix."""
        base = node.module or ""
        if node.level:
            package = self.module.split(".")[: -node.level]
            base = ".".join([*package, base]) if base else ".".join(package)
        return f"{base}.{name}"


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def within(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def longest(module: str, table: Mapping[str, object]) -> str | None:
    """The longest key of `table` that is `module` or a package around it."""
    return max((key for key in table if within(module, key)), key=len, default=None)


def wrong_imports(source: Source, allowed: Mapping[str, Sequence[str]]) -> list[str]:
    """Imports of ours that the importing module's row does not list. A row's own package is always allowed."""
    row = longest(source.module, allowed)
    if row is None:
        return [f"{source.path}:1: module {source.module} has no row in the table of imports"]
    wrong = []
    for found in source.imports:
        if found.module.split(".")[0] not in OURS:
            continue
        target = found.module if "." in found.module else f"{found.module}.__init__"
        if not any(within(target, prefix) for prefix in (row, *allowed[row])):
            wrong.append(f"{source.path}:{found.line}: {row} must not import {found.module}")
    return wrong


def impurities(source: Source) -> list[str]:
    """Imports and calls a PURE module must not have: clocks, dice, files, sockets, loops, logs."""
    wrong = []
    for found in source.imports:
        name = found.module.split(".")[0]
        a_type = found.module == "random" and names_only_a_type(source.tree)
        if name in IMPURE_MODULES and not a_type and not (found.typing and found.module == "random.Random"):
            wrong.append(f"{source.path}:{found.line}: a PURE module must not import {name}")
    for node in ast.walk(source.tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await):
            wrong.append(f"{source.path}:{node.lineno}: a PURE module must not be asynchronous")
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            hidden_dice = called.endswith("Key.generate") and not node.args and not node.keywords
            if called in IMPURE_CALLS or hidden_dice:
                wrong.append(f"{source.path}:{node.lineno}: a PURE module must not call {called}()")
    return wrong


def names_only_a_type(tree: ast.Module) -> bool:
    """Whether `random` serves as the annotation `random.Random` alone: the dice themselves are an argument."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    uses = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "random"]
    return all(use.attr == "Random" and id(use) not in called for use in uses)


def sole_importers(source: Source, importers: Mapping[str, Sequence[str]]) -> list[str]:
    """Third-party imports outside the files (or folders, ending in /) that alone may have them."""
    wrong = []
    for found in source.imports:
        for package, files in importers.items():
            permitted = any(
                source.path.startswith(file) if file.endswith("/") else source.path == file for file in files
            )
            if within(found.module, package) and not permitted:
                wrong.append(f"{source.path}:{found.line}: only {', '.join(files)} may import {package}")
    return wrong


def heavy_imports(source: Source, heavy: Sequence[str]) -> list[str]:
    """Imports at module top that would slow every command down."""
    return [
        f"{source.path}:{found.line}: import {found.module} inside the function that needs it"
        for found in source.imports
        if found.top and not found.typing and any(within(found.module, name) for name in heavy)
    ]


def too_long(source: Source, file_lines: int, function_lines: int) -> list[str]:
    """The file, and each function or method, longer than its limit (docstrings count)."""
    wrong = []
    lines = source.text.count("\n") + (not source.text.endswith("\n"))
    if lines > file_lines:
        wrong.append(f"{source.path}: {lines} lines, the limit is {file_lines}: split it by concept")
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > function_lines:
                wrong.append(f"{source.path}:{node.lineno}: {node.name}() has {length} lines, limit {function_lines}")
    return wrong


def calls_of(source: Source, names: Sequence[str]) -> list[str]:
    """Calls whose last dotted part is one of `names`, for instance `create_task` or `ensure_future`."""
    wrong = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if any(called == name or called.endswith("." + name) for name in names):
                wrong.append(f"{source.path}:{node.lineno}: {called}() is not for this file")
    return wrong


def is_pure(source: Source) -> bool:
    """Whether the module's docstring declares it PURE in its first line."""
    return "PURE" in (ast.get_docstring(source.tree) or "").split("\n")[0]


def is_hot(source: Source) -> bool:
    """Whether the module says in its first lines or its docstring that it is on the hot path."""
    head = "\n".join(source.text.splitlines()[:5]) + (ast.get_docstring(source.tree) or "")
    return "# HOT PATH" in head
