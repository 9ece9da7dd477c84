"""The rules of the house as data, and an AST walk that finds what breaks them. `test_architecture.py` runs it."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

# A room imports only rooms above its own line; `gollem` itself (its `__init__.py`) imports none.
LAYERS = [
    {"errors", "clock"},
    {"units"},
    {"config", "bounded_http", "dynamodb_url"},
    {"_core", "observability"},
    {"market", "ledger", "providers", "identity"},
    {"payments", "nodes"},
    {"exchange"},
    {"rpc", "bridge", "watch", "gateway"},
    {"app"},
    {"cli"},
    {"__main__"},
]
# The packages beside `gollem`, and which of each other's they may import. `gollem` means its bottom to its top.
PACKAGES = {
    "gollem": {"grpclib_guard", "gollem_client"},
    "grpclib_guard": set(),
    "gollem_client": set(),
    "provider_agent": {"gollem_client", "grpclib_guard"},
}
# Where each package lies.
FOLDERS = {name: Path(name) for name in PACKAGES} | {"gollem_client": Path("clients/python/gollem_client")}
# Who may import one of our packages at all, beyond the table above.
OURS = {
    "grpclib_guard": ("gollem.rpc", "gollem.app", "provider_agent"),
    "gollem_client": ("gollem.cli", "provider_agent"),
}
# What is not ours is imported only where this table says; what it does not name is imported nowhere.
# Of the standard library, only what must stay in one place.
VENDORS = {
    "aioboto3": ("gollem.ledger.dynamodb.client", "gollem.identity.dynamodb_table"),
    "aiobotocore": ("gollem.ledger.dynamodb.client", "gollem.identity.dynamodb_table"),
    "aiohttp": (
        "provider_agent",
        "gollem.ledger.dynamodb.client",
        "gollem.identity.dynamodb_table",
        "gollem.payments",
        "gollem.bridge",
        "gollem.cli",
        "gollem.observability.http_door",
        "gollem.bounded_http",
    ),
    "betterproto": ("gollem_client", "gollem.cli.output"),
    "botocore": ("gollem.ledger.dynamodb.client", "gollem.identity.dynamodb_table"),
    "click": ("gollem.cli", "provider_agent"),
    "cryptography": ("gollem.rpc.grants", "provider_agent"),
    "envoy": ("gollem.gateway.envoy",),
    "google": ("gollem.rpc", "grpclib_guard", "gollem_client.wire", "provider_agent"),
    "grpclib": ("gollem.rpc", "grpclib_guard", "gollem_client", "provider_agent"),
    "h2": ("grpclib_guard", "gollem_client.wire"),
    "hpack": ("grpclib_guard",),
    "hyperframe": ("grpclib_guard",),
    "msgspec": ("gollem.ledger",),
    "multidict": ("grpclib_guard", "gollem.rpc", "provider_agent"),
    # The text format has its own library; one place keeps what is counted apart from how it is told.
    "prometheus_client": ("gollem.observability.meters", "provider_agent.metrics", "provider_agent.engine"),
    "opentelemetry": ("gollem.observability.traces", "provider_agent.traces", "gollem_client.tracing"),
    "pythonjsonlogger": ("gollem.observability.logs",),
    "pynvml": ("provider_agent.gpu",),
    "redis": ("gollem.nodes.redis_client",),
    "rich": ("gollem.cli",),
    "stripe": ("gollem.payments.stripe_gateway",),
    "uvloop": ("gollem.app", "provider_agent.__main__"),
    "xllamacpp": ("gollem.cli.demo.model_server",),
    "decimal": ("gollem.units", "gollem_client"),
    "sqlite3": ("gollem.ledger", "gollem.identity.sqlite_store", "gollem.payments.local_store", "provider_agent"),
    "time": ("gollem.clock", "grpclib_guard", "gollem_client", "provider_agent"),
    "datetime": ("gollem.clock", "gollem.cli"),
}
# Rooms' doors must stay light: these may not be loaded by importing one. Whoever needs the backend imports its file.
HEAVY = {"opentelemetry", "sqlite3", "aioboto3", "redis", "stripe", "xllamacpp"}
BUILDERS = {"app", "cli"}
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60
GENERATED = ("gollem.rpc.pb", "provider_agent.pb", "gollem_client.stubs")


@dataclass(frozen=True)
class Import:
    """`source` imports `target` (dotted names; a vendor is its first part) in this line."""

    source: str
    target: str
    line: int
    lazy: bool  # inside a function


@dataclass(frozen=True)
class House:
    """Every module of ours by its dotted name, with its tree; and every import between them."""

    trees: dict[str, ast.Module]
    doors: frozenset[str]  # packages, whose file is an `__init__.py`
    imports: tuple[Import, ...]

    @cached_property
    def loads(self) -> dict[str, list[str]]:
        """What importing each loads at once, by itself."""
        found: dict[str, list[str]] = {}
        for one in self.imports:
            if not one.lazy:
                found.setdefault(one.source, []).append(one.target)
        return found


@lru_cache(maxsize=1_024)
def _parsed(text: str) -> ast.Module:
    """Whoever plants a fault reads all the others again."""
    return ast.parse(text)


@lru_cache(maxsize=1_024)
def _functions(tree: ast.Module) -> tuple[ast.FunctionDef | ast.AsyncFunctionDef, ...]:
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@lru_cache(maxsize=1_024)
def _statements(tree: ast.Module) -> tuple[tuple[ast.Import | ast.ImportFrom, bool], ...]:
    """Those that import, and whether they stand in a function."""
    lazy = {id(inner) for function in _functions(tree) for inner in ast.walk(function)}
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))
    return tuple((node, id(node) in lazy) for node in found)


def read(root: Path, planted: dict[str, str] | None = None) -> House:
    """Parse everything of ours under `root` that is not generated, with the text that is planted at the end of files,
    which may be new."""
    planted = planted or {}
    trees, doors = {}, set()
    for package, folder in FOLDERS.items():
        files = {*(root / folder).rglob("*.py"), *(root / file for file in planted if folder in Path(file).parents)}
        for file in sorted(files):
            parts = (package, *file.relative_to(root / folder).with_suffix("").parts)
            name = ".".join(parts).removesuffix(".__init__")
            text = file.read_text() if file.exists() else ""
            trees[name] = _parsed(text + planted.get(str(file.relative_to(root)), ""))
            if file.name == "__init__.py":
                doors.add(name)
    checked = {name: tree for name, tree in trees.items() if not _within(name, GENERATED)}
    imports = tuple(found for name, tree in checked.items() for found in _imports(name, tree, trees, name in doors))
    return House(checked, frozenset(doors), imports)


def faults(house: House) -> list[str]:
    """Every broken rule, one line each."""
    checks = (layers, doors, neighbours, vendors, light_doors, cycles, sizes)
    return [fault for check in checks for fault in check(house)]


def layers(house: House) -> Iterator[str]:
    """No room imports one beside or below it."""
    level = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
    for found in house.imports:
        source, target = _room(found.source), _room(found.target)
        if source is None or target is None or source == target or target == "":
            continue
        if source not in level or target not in level:
            yield f"{found.source}:{found.line}: {source} or {target} is no room of the table"
        elif level[target] >= level[source]:
            yield f"{found.source}:{found.line}: {source} may not import {target}"


def doors(house: House) -> Iterator[str]:
    """Outsiders import the room. Only generated messages are free, and for whoever builds things, heavy backends."""
    for found in house.imports:
        inner = found.target.startswith("gollem.") and found.target.count(".") >= 2
        if not inner or _room(found.source) == _room(found.target) or _within(found.target, GENERATED):
            continue
        builder = _room(found.source) in BUILDERS and HEAVY & _loads(house, found.target)
        if not builder:
            yield f"{found.source}:{found.line}: imports {found.target} past its door"


def neighbours(house: House) -> Iterator[str]:
    """Packages import each other only as their table says."""
    for found in house.imports:
        source, target = found.source.partition(".")[0], found.target.partition(".")[0]
        if target not in PACKAGES or source == target:
            continue
        if target not in PACKAGES[source] or not _within(found.source, OURS.get(target, ())):
            yield f"{found.source}:{found.line}: may not import {target}"


def vendors(house: House) -> Iterator[str]:
    """Each vendor stays in its place."""
    for found in house.imports:
        if found.target.partition(".")[0] in PACKAGES:
            continue
        vendor = found.target
        known = vendor in VENDORS
        if known and not _within(found.source, VENDORS[vendor]):
            yield f"{found.source}:{found.line}: {vendor} belongs to {', '.join(VENDORS[vendor])}"
        if not known and vendor not in _standard_library():
            yield f"{found.source}:{found.line}: {vendor} is not in the table of vendors"


def light_doors(house: House) -> Iterator[str]:
    """Importing a room loads no heavy backend."""
    for door in sorted(door for door in house.doors if _room(door)):
        for heavy in sorted(HEAVY & _loads(house, door)):
            yield f"{door}: its door loads {heavy}"


def cycles(house: House) -> Iterator[str]:
    """No module imports itself by way of others, not even lazily."""
    graph: dict[str, set[str]] = {name: set() for name in house.trees}
    for found in house.imports:
        if found.target in graph:
            graph[found.source].add(found.target)
    settled: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> Iterator[str]:
        if name in path:
            yield "cycle: " + " -> ".join((*path[path.index(name) :], name))
            return
        if name in settled:
            return
        for target in sorted(graph[name]):
            yield from visit(target, (*path, name))
        settled.add(name)

    for name in sorted(graph):
        yield from visit(name, ())


def sizes(house: House) -> Iterator[str]:
    """Files and functions stay readable."""
    for name, tree in house.trees.items():
        last = max((node.end_lineno or 0 for node in tree.body), default=0)
        if last > MAX_FILE_LINES:
            yield f"{name}: {last} lines, of {MAX_FILE_LINES} at most"
        for function in _functions(tree):
            length = (function.end_lineno or 0) - function.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{name}:{function.lineno}: {function.name} has {length} lines, of {MAX_FUNCTION_LINES} at most"


def _imports(name: str, tree: ast.Module, known: dict[str, ast.Module], is_door: bool) -> Iterator[Import]:
    for node, is_lazy in _statements(tree):
        for target in _targets(node, name, known, is_door):
            ours = target.partition(".")[0] in PACKAGES
            yield Import(name, target if ours else target.partition(".")[0], node.lineno, is_lazy)


def _targets(node: ast.Import | ast.ImportFrom, name: str, known: dict[str, ast.Module], is_door: bool) -> list[str]:
    """The modules that a statement names: `from room import file` names the file."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        parts = name.split(".")
        parent = parts[: len(parts) - node.level + (1 if is_door else 0)]
        base = ".".join([*parent, *([node.module] if node.module else [])])
    offered = _exports(known[base]) if base in known and _room(base) != _room(name) else set()
    inner = {alias.name: f"{base}.{alias.name}" for alias in node.names}
    return [path if path in known and name not in offered else base for name, path in inner.items()]


def _exports(door: ast.Module) -> set[str]:
    """The names in a door's `__all__`: a file that stands there is the room's to offer."""
    for node in door.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return set(ast.literal_eval(node.value))
    return set()


def _loads(house: House, start: str) -> set[str]:
    """Everything that importing `start` loads at once, by itself or by what it imports."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += house.loads.get(name, ())
    return seen


def _room(name: str) -> str | None:
    """The room of a module of gollem; "" for the package itself, None for what is not gollem's."""
    parts = name.split(".")
    if parts[0] != "gollem":
        return None
    return parts[1] if len(parts) > 1 else ""


def _within(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def _standard_library() -> frozenset[str]:
    return sys.stdlib_module_names
