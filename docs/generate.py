"""The parts of the reference that are made from the code, as Markdown.

A page says ``<!-- generated: NAME -->`` where one of ``PAGES`` goes. Nothing here knows a key, a
flag or a name: they come from the JSON schema, the command line and the files of extensions.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from types import UnionType
from typing import Any, get_args

import yaml

Schema = dict[str, Any]
_ADDRESS = re.compile(r"https?://[^\s)>;,]+")
_LOW = {"minimum": "[", "exclusiveMinimum": "("}
_HIGH = {"maximum": "]", "exclusiveMaximum": ")"}


def recipe() -> str:
    """Return every block of a recipe with its keys, in the order in which recipes use them."""
    from squeeze.recipe.schema import Recipe

    return _blocks("recipe", Recipe.model_json_schema(by_alias=True), "Recipe")


def results() -> str:
    """Return the same of results.json."""
    from squeeze.results import Results

    return _blocks("results", Results.model_json_schema(by_alias=True), "Results")


def _blocks(prefix: str, schema: Schema, name: str) -> str:
    forms = {name: schema, **schema["$defs"]}
    order, waiting = list[str](), [name]
    while waiting:
        current = waiting.pop(0)
        if current not in order:
            order.append(current)
            waiting += list(_references(_form(forms[current])))
    return "\n".join(_block(prefix, each, _form(forms[each])) for each in order)


def _form(block: Schema) -> Schema:
    """Return the mapping of a block that may also be written as a string."""
    return next(form for form in (block, *block.get("anyOf", ())) if "properties" in form)


def _references(value: object) -> Iterator[str]:
    """Yield the blocks that a block refers to, in order."""
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].rpartition("/")[2]
        for key, inner in value.items():
            if key not in {"$defs", "discriminator"}:
                yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _block(prefix: str, name: str, form: Schema) -> str:
    keys = "\n".join(
        _key(prefix, key, value, required=key in form.get("required", ()))
        for key, value in form["properties"].items()
    )
    return f"({prefix}-{name.lower()})=\n## {name}\n\n{_text(form['description'])}\n\n{keys}"


def _key(prefix: str, key: str, value: Schema, *, required: bool) -> str:
    facts = [_kind(prefix, value), "**required**" if required else _default(value)]
    facts = [fact for fact in facts if fact]
    return f"`{key}`\n: {', '.join(facts)}  \n  {_text(value['description'])}\n"


def _text(text: str) -> str:
    """Escape what Markdown would read as emphasis or HTML outside of code, and link addresses."""
    parts = text.split("``")
    for index in range(0, len(parts), 2):
        escaped = parts[index].replace("*", r"\*").replace("<", r"\<")
        parts[index] = _ADDRESS.sub(r"<\g<0>>", escaped)
    return "``".join(parts)


def _kind(prefix: str, value: Schema) -> str:
    forms = value.get("anyOf") or value.get("oneOf")
    if forms:
        named = [_kind(prefix, form) for form in forms if form.get("type") != "null"]
        return " or ".join(dict.fromkeys(named))
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{prefix}-{name.lower()})"
    choices = [value["const"]] if "const" in value else value.get("enum")
    if choices:
        return " or ".join(f"`{_yaml(choice)}`" for choice in choices)
    if value.get("type") == "array":
        return _list(prefix, value)
    if value.get("type") == "object":
        inner = value.get("additionalProperties")
        return "mapping to " + _kind(prefix, inner) if isinstance(inner, dict) else "mapping"
    return _scalar(value)


def _list(prefix: str, value: Schema) -> str:
    if "prefixItems" in value:
        inner = [_kind(prefix, item) for item in value["prefixItems"]]
        return f"list of {len(inner)}: {', '.join(inner)}"
    return "list of " + _kind(prefix, value["items"])


def _scalar(value: Schema) -> str:
    kind = {"boolean": "`true` or `false`"}.get(value.get("type", ""), value.get("type", "any"))
    lows = [f"{sign}{_number(value[name])}" for name, sign in _LOW.items() if name in value]
    highs = [f"{_number(value[name])}{sign}" for name, sign in _HIGH.items() if name in value]
    if not lows and not highs:
        return str(kind)
    return f"{kind} in {(lows or ['(-∞'])[0]}, {(highs or ['∞)'])[0]}"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _default(value: Schema) -> str:
    if "const" in value:
        return ""
    given = value.get("default")
    if given in (None, [], {}):
        return "left out by default"
    if isinstance(given, dict):
        return "default: the block's own"
    return f"default: `{_yaml(_without_nothing(given))}`"


def _without_nothing(value: object) -> object:
    if isinstance(value, dict):
        return {key: inner for key, inner in value.items() if inner not in (None, {}, [])}
    return [_without_nothing(inner) for inner in value] if isinstance(value, list) else value


def _yaml(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
    return text.removesuffix("...\n").strip()


def cli() -> str:
    """Return every verb with its arguments and flags."""
    import typer

    from squeeze.cli.app import app

    command = typer.main.get_command(app)
    verbs = getattr(command, "commands", {})
    return "\n".join(_verb(("squeeze", name), verb) for name, verb in sorted(verbs.items()))


def _verb(path: tuple[str, ...], command: Any) -> str:  # noqa: ANN401  (Click's, vendored by Typer)
    inner = getattr(command, "commands", {})
    context = command.context_class(command, info_name=path[-1])
    records = [parameter.get_help_record(context) for parameter in command.params]
    shown = [
        f"{'#' * len(path)} {' '.join(path)}\n\n{_prose(command.help)}\n",
        *(f"`{flag}`\n: {_prose(text)}\n" for flag, text in filter(None, records)),
        *(_verb((*path, name), verb) for name, verb in inner.items()),
    ]
    return "\n".join(shown)


def _prose(text: str | None) -> str:
    return _text(inspect.cleandoc(text or "").replace("\f", ""))


def extensions() -> str:
    """Return what recipes can name (criteria, losses, formats, …), with sources and options."""
    from squeeze.core import plugins
    from squeeze.core.descriptions import describe

    sections = []
    for kind, group in plugins.KINDS.items():
        rows = []
        for name, description in describe(group).items():
            source = f"  \n  {_text(description.source)}" if description.source else ""
            rows.append(f"`{name}`\n: {_text(description.title)}{source}\n{_options(group, name)}")
        sections.append(f"## {kind}\n\n" + "\n".join(rows))
    return "\n".join(sections)


def _options(group: str, name: str) -> str:
    """Return the options of an extension of which a recipe may set some, as an inner list."""
    from squeeze.core import plugins

    if group not in {plugins.LOSSES, plugins.CALIBRATORS}:
        return ""
    schema = plugins.load(group, name).Options.model_json_schema()
    rows = [
        f"  - `{key}`: {_kind('', value)}, {_default(value)}. {_text(value['description'])}"
        for key, value in schema.get("properties", {}).items()
    ]
    return "\n" + "\n".join(rows) + "\n" if rows else ""


def api() -> str:
    """Return the directives that document every public name, and what the functions return."""
    import squeeze

    public = [getattr(squeeze, name) for name in sorted(set(squeeze.__all__) - {"__version__"})]
    public.sort(key=inspect.isclass)
    returned = {found for each in public for found in _returned(each)}
    others = sorted(returned - set(public), key=lambda each: each.__name__)
    shown = [_directive("squeeze", each) for each in public]
    shown += [_directive(each.__module__, each) for each in others]
    return "\n".join(shown)


def _returned(function: Callable[..., Any]) -> list[type]:
    """Return the classes of this package that a function returns, of several each."""
    given = inspect.signature(function).return_annotation
    parts = get_args(given) if isinstance(given, UnionType) else (given,)
    classes = [part for part in parts if inspect.isclass(part)]
    return [part for part in classes if part.__module__.startswith("squeeze.")]


def _directive(home: str, thing: Any) -> str:  # noqa: ANN401  (a function or a class)
    kind = "class" if inspect.isclass(thing) else "function"
    members = "\n   :members:" if kind == "class" else ""
    directive = f".. auto{kind}:: {home}.{thing.__name__}{members}"
    return f"## {thing.__name__}\n\n```{{eval-rst}}\n{directive}\n```\n"


PAGES: dict[str, Callable[[], str]] = {
    "recipe": recipe,
    "results": results,
    "cli": cli,
    "extensions": extensions,
    "api": api,
}
