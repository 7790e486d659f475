"""Sample dialplans: templates with declared variables, rendered for extensions.conf or AEL.

A template is three files in the folder ``templates``: ``NAME.toml`` says what it is for and declares its variables,
``NAME.conf.j2`` and ``NAME.ael.j2`` are Jinja templates of the two formats. Their expressions can write nothing but
what a place of `agi_xmpp.quoting` made of a value: ``{{ jid | argument }}``; a bare ``{{ jid }}`` is an error.
"""

from __future__ import annotations

import difflib
import functools
import re
import shlex
import textwrap
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2

from agi_xmpp.errors import RenderError
from agi_xmpp.quoting import LINE_BYTES, MAX_CHOICES, PLACES, TYPES, Quoted, Value, check

#: The formats, and what begins a comment in each.
FORMATS: Final[Mapping[str, str]] = {"conf": ";", "ael": "//"}

#: Items that have several parts, with ``=`` between them: how they are taken apart, and the type of each part.
COMPOSITES: Final[Mapping[str, tuple[re.Pattern[str], Mapping[str, str]]]] = {
    "key=label=dialstring": (
        re.compile(r"(?P<key>[^=]*)=(?P<label>.*)=(?P<phone>[^=]*)"),
        {"key": "key", "label": "label", "phone": "dialstring"},
    ),
    "jid=dialstring": (
        re.compile(r"(?P<jid>.*)=(?P<phone>[^=]*)"),
        {"jid": "jid", "phone": "dialstring"},
    ),
    "pattern=dialstring": (
        re.compile(r"(?P<pattern>[^=]*)=(?P<phone>[^=]*)"),
        {"pattern": "pattern", "phone": "dialstring"},
    ),
}

#: Most items of a list; as many as `jabber_ask` has choices.
MAX_ITEMS: Final = MAX_CHOICES

#: What a template sees of a variable: a value, a list of them or of parts, or the plain word of a choice.
Item = Value | Mapping[str, Value]
Checked = Item | str | list[Item]


@dataclass(frozen=True, slots=True)
class Variable:
    """What a template wants to know.

    Attributes:
        name: as in ``--set NAME=value``.
        type: one of `quoting.TYPES`, of `COMPOSITES`, or ``choice``.
        help: one line for people.
        default: the values if none are given; empty if the variable is required.
        many: True if it is a list, given by several ``--set``.
        choices: the words of a ``choice``.
    """

    name: str
    type: str
    help: str
    default: tuple[str, ...]
    many: bool
    choices: tuple[str, ...]

    @property
    def required(self) -> bool:
        """True if there is no default."""
        return not self.default


@dataclass(frozen=True, slots=True)
class Template:
    """A sample dialplan.

    Attributes:
        name: as in ``agi-xmpp render NAME``.
        title: what it does, in one line.
        help: what its reader must know; paragraphs with an empty line between them.
        variables: in the order of their declaration.
        folder: where its files are.
    """

    name: str
    title: str
    help: str
    variables: tuple[Variable, ...]
    folder: Path


def folder() -> Path:
    """Return where the templates are: within the installed package, or in the checkout beside it."""
    here = Path(__file__).parent
    installed = here / "templates"
    return installed if installed.is_dir() else here.parent / "templates"


def templates(where: Path | None = None) -> tuple[Template, ...]:
    """Return all templates in alphabetical order.

    Args:
        where: the folder of the templates; default: our own.
    """
    where = folder() if where is None else where
    return tuple(_load(path) for path in sorted(where.glob("*.toml")))


def find(name: str, where: Path | None = None) -> Template:
    """Return the template of that name.

    Raises:
        RenderError: there is none; the text names the nearest.
    """
    known = {template.name: template for template in templates(where)}
    if name not in known:
        raise RenderError(f"there is no template {name!r}; {_nearest(name, known)}")
    return known[name]


def render(template: Template, values: Mapping[str, Sequence[str]], format_: str = "conf") -> str:
    """Return the dialplan.

    Args:
        template: from `find` or `templates`.
        values: what was set, by variable; one value, or the items of a list. Defaults are used for the others.
        format_: ``conf`` or ``ael``.

    Raises:
        RenderError: an unknown variable, a missing one, or a value that is refused, with the reason.
    """
    known = {variable.name: variable for variable in template.variables}
    for name in values:
        if name not in known:
            raise RenderError(f"{template.name} has no variable {name!r}; {_nearest(name, known)}")
    checked = {name: _checked(variable, values.get(name, ())) for name, variable in known.items()}
    source = _environment(template.folder).get_template(f"{template.name}.{format_}.j2")
    dialplan = _header(template, values, format_) + source.render(checked)
    # A comment of any length is harmless in AEL; in extensions.conf it is a line like others.
    lines = (line for line in dialplan.splitlines() if not line.startswith("//"))
    if any(len(line.encode()) > LINE_BYTES[format_] for line in lines):
        raise RenderError(
            f"the values make a line of more than {LINE_BYTES[format_]} bytes, which Asterisk cannot read as {format_}"
        )
    return dialplan


def describe(template: Template) -> str:
    """Return what can be set in a template, for people."""
    lines = [f"{template.name}: {template.title}"]
    for variable in template.variables:
        kind = " or ".join(variable.choices) if variable.type == "choice" else variable.type
        lines += ["", f"{variable.name} ({kind}{', may be repeated' if variable.many else ''})", f"  {variable.help}"]
        lines += ["  required"] if variable.required else [f"  default: {item}" for item in variable.default]
    return "\n".join(lines)


def render_all(values: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return every template in every format by the name of its file, such as ``menu.conf``.

    Args:
        values: as for `render`; each template takes those that it knows.

    Raises:
        RenderError: a variable that no template has, or a value that is refused.
    """
    everything = templates()
    known = {variable.name for template in everything for variable in template.variables}
    for name in values:
        if name not in known:
            raise RenderError(f"no template has a variable {name!r}; {_nearest(name, sorted(known))}")
    files = {}
    for template in everything:
        own = {name: items for name, items in values.items() if name in {each.name for each in template.variables}}
        for format_ in FORMATS:
            files[f"{template.name}.{format_}"] = render(template, own, format_)
    return files


def parse_settings(settings: Iterable[str]) -> dict[str, list[str]]:
    """Take ``NAME=value`` texts apart; several of one name make a list.

    Raises:
        RenderError: one has no ``=``.
    """
    values: dict[str, list[str]] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise RenderError(f"{setting!r} sets nothing; write it NAME=value")
        values.setdefault(name.strip(), []).append(value)
    return values


def _checked(variable: Variable, given: Sequence[str]) -> Checked:
    items = given or variable.default
    if not items:
        raise RenderError(f"{variable.name} is required: {variable.help}")
    if len(items) > 1 and not variable.many:
        raise RenderError(f"{variable.name} is set {len(items)} times, but it is no list")
    if len(items) > MAX_ITEMS:
        raise RenderError(f"{variable.name} has {len(items)} items; at most {MAX_ITEMS} are allowed")
    try:
        if variable.type == "choice":
            return _chosen(items[0], variable.choices)
        checked = [_item(variable.type, item) for item in items]
        _refuse_twice(checked)
    except ValueError as error:
        raise RenderError(f"{variable.name}: {error}") from None
    return checked if variable.many else checked[0]


def _chosen(text: str, choices: Sequence[str]) -> str:
    if text not in choices:
        raise ValueError(f"{text!r} is none of {', '.join(choices)}")
    return text


def _item(type_: str, text: str) -> Item:
    if type_ not in COMPOSITES:
        return check(type_, text)
    pattern, parts = COMPOSITES[type_]
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not written {type_}")
    return {part: check(part_type, match[part]) for part, part_type in parts.items()}


def _refuse_twice(items: Iterable[Item]) -> None:
    """Refuse two items of one list that stand for the same key, contact or extension."""
    seen = set()
    for item in items:
        first = item if isinstance(item, Value) else next(iter(item.values()))
        if first.raw.casefold() in seen:
            raise ValueError(f"{first.raw!r} stands there twice")
        seen.add(first.raw.casefold())


@functools.cache
def _environment(where: Path) -> jinja2.Environment:
    # Jinja's own autoescape is HTML's. Ours is `finalize`: it sees the result of every expression.
    environment = jinja2.Environment(  # noqa: S701
        loader=jinja2.FileSystemLoader(where),
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters = dict(PLACES)
    return environment


def _finalize(result: object) -> object:
    # An undefined value raises by itself, with its name; numbers of loops are harmless.
    if isinstance(result, (Quoted, jinja2.Undefined, int)):
        return result
    raise TypeError(f"a template wrote a {type(result).__name__} without a place: use one of {', '.join(PLACES)}")


def _header(template: Template, values: Mapping[str, Sequence[str]], format_: str) -> str:
    """Return the comment on top: what it is, and the command that makes it again."""
    command = ["agi-xmpp", "render", template.name]
    command += [] if format_ == "conf" else ["--format", format_]
    for name, items in values.items():
        for item in items:
            command += ["--set", f"{name}={item}"]
    paragraphs = [f"{template.name}: {template.title}", *template.help.strip().split("\n\n")]
    lines = [line for paragraph in paragraphs for line in [*textwrap.wrap(paragraph, 100), ""]]
    sign = FORMATS[format_]
    return "".join(f"{sign} {line}".rstrip() + "\n" for line in [*lines, f"Made by: {shlex.join(command)}"]) + "\n"


def _load(path: Path) -> Template:
    declared = tomllib.loads(path.read_text(encoding="utf-8"))
    variables = tuple(_variable(name, about) for name, about in declared["variables"].items())
    return Template(path.stem, declared["title"], declared["help"], variables, path.parent)


def _variable(name: str, about: Mapping[str, Any]) -> Variable:
    default = about.get("default", ())
    variable = Variable(
        name=name,
        type=about["type"],
        help=about["help"],
        default=(default,) if isinstance(default, str) else tuple(default),
        many=about.get("many", False),
        choices=tuple(about.get("choices", ())),
    )
    if variable.type not in (*TYPES, *COMPOSITES, "choice"):
        raise ValueError(f"{name} has the unknown type {variable.type!r}")
    return variable


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
