"""Pages of the site that are made from code: methods, command line, Python, examples, imports.

`python website/generate.py METHOD` prints the card of one method as Markdown.
"""

from __future__ import annotations

import ast
import html
import importlib
import inspect
import json
import re
import statistics
import sys
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click

from coun.cli import group
from coun.methods import catalogue
from coun.plans.card import HEADINGS, Card

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results" / "methods.json"
COLUMNS = {
    "RA": "retain_accuracy",
    "UA": "unlearn_accuracy",
    "TA": "test_accuracy",
    "MIA": "mia_efficacy",
    "gap": "average_gap",
    "cost": "cost_ratio",
}
FIRST = ("data", "plans", "methods", "engine", "objectives", "models", "metrics", "attacks", "runs")
RESULTS_FIRST = (
    "bench",
    "nearest",
    "methods",
    "cifar10-full",
    "cifar10-five-groups",
    "premise",
    "audit",
    "registry",
)
PRIVATE = {"cli", "demo"}


def text(words: str) -> str:
    """Escape *words* for Markdown, except in backticks; names of pages become links."""
    parts = re.split(r"(`[^`]*`)", words)
    parts[::2] = [
        re.sub(r"([\\*_>|\[\]])", r"\\\1", part).replace("<", "&lt;") for part in parts[::2]
    ]
    return re.sub(r"(?<![\w/])docs/([\w/-]+\.md)", _linked, "".join(parts))


def _linked(match: re.Match[str]) -> str:
    """Return a link to a page, under its title."""
    title = (ROOT / match[0]).read_text("utf-8").partition("\n")[0]
    return f"[{title.removeprefix('# ')}](../{match[1]})"


def table(
    head: tuple[str, ...], rows: Iterator[tuple[str, ...]], numbers: Collection[str] = ()
) -> str:
    """Write a Markdown table; the cells are Markdown already. Columns of *numbers* end flush."""
    marks = tuple("---:" if name in numbers else "---" for name in head)
    lines = [head, marks, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# Methods


@cache
def method_pages() -> dict[str, str]:
    """Return the overview and the card of every method, by the path of the page."""
    own = {name: kind for name, kind in catalogue().items() if kind.__module__.startswith("coun.")}
    cards = [Card.of(kind) for kind in own.values()]
    rows = (
        (
            f"[`{card.name}`]({card.name}.md)",
            text(card.title),
            text(card.parts["reads"]),
            "" if card.share is None else f"{card.share:.2g}",
            "yes" if own[card.name].exact else "no",
        )
        for card in cards
    )
    overview = (
        "# Methods\n\nEach method has a card with its idea, its formula, what it reads and costs, "
        "when it fails, where it comes from and where it differs from the authors' code. "
        "`coun methods NAME` prints the same card. "
        "[Which method to choose](../which-method.md) is a page of its own. The cost is a share of "
        "a Retrain's operations at the defaults, where 10% of the rows are forgotten and the "
        "Original was trained for 182 epochs.\n\n"
        + table(("method", "what it does", "needs", "cost", "exact"), rows, {"cost"})
    )
    return {"methods/index.md": overview} | {
        f"methods/{card.name}.md": method_card(card) for card in cards
    }


def method_card(card: Card) -> str:
    """Write the card of a method as a page, with its row of the measured results."""
    parts = "\n\n".join(f"## {HEADINGS[key]}\n\n{text(body)}" for key, body in card.parts.items())
    rows = (
        (f"`{s.name}`", text(s.description), text(s.default), text(s.allowed))
        for s in card.settings
    )
    settings = table(("`--set`", "what it is for", "default", "range"), rows)
    return (
        f"# {card.name}\n\n{text(card.title)}\n\n"
        f"    coun unlearn RUN --method {card.name} --forget-ids FILE --out FOLDER\n\n"
        f"{parts}\n\n{_result(card.name)}## Settings\n\n{settings}\n"
    )


def _result(name: str) -> str:
    runs = json.loads(RESULTS.read_text("utf-8"))["reported"]
    if name not in runs:
        return "" if name != "retrain" else _measured(runs, ("Retrain", "Retrain again"))
    return _measured(runs, (name, f"{name} + module", "Retrain", "Retrain again"))


def _measured(runs: dict[str, list[dict[str, Any]]], names: tuple[str, ...]) -> str:
    def cells(name: str) -> Iterator[str]:
        yield text(name)
        for key in COLUMNS.values():
            values = [run[key] for run in runs[name] if key in run]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            yield f"{statistics.mean(values):.2f}±{spread:.2f}" if values else ""

    rows = (tuple(cells(name)) for name in names if name in runs)
    return (
        "## What was measured\n\n"
        "A random 10% of 1,000 CIFAR-10 images, `resnet8`, mean ± standard deviation over five "
        "seeds. RA, UA, TA and MIA are in percent, the gap to Retrain is in points, and the cost "
        "is a share of Retrain's. The gap of *Retrain again* is the floor. These small models do "
        "not fit their data, so the numbers hold for this setting only: "
        "[how it was measured](../results/methods.md).\n\n"
        f"{table(('', *COLUMNS), rows, COLUMNS)}\n\n"
    )


# Command line


def reference_page() -> str:
    """Return the reference of the command line, made from what `--help` shows."""
    sections = "\n\n".join(_commands(group, "coun"))
    return (
        "# Command line\n\nThis page is made from the text that `--help` prints. Exit code 2 with "
        "one line on standard error means bad input; nothing was changed then. `--json` makes a "
        "command print one document on standard output.\n\n" + sections
    )


def _commands(command: click.Command, name: str) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    if isinstance(command, click.Group):
        if name != "coun":
            yield f"## {name}\n\n{_sentences(command.help)}"
        for child in command.list_commands(context):
            member = command.get_command(context, child)
            assert member is not None
            yield from _commands(member, f"{name} {child}")
        return
    usage = " ".join(piece for piece in command.collect_usage_pieces(context))
    topics: dict[str, list[tuple[str, str]]] = {"": []}
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None and record[1]:
            row = (f"`{record[0]}`", _sentences(record[1]))
            topics.setdefault(getattr(parameter, "topic", ""), []).append(row)
    level = "#" * (len(name.split()))
    options = "".join(
        f"\n\n{table((topic.lower() or 'option', 'meaning'), iter(rows))}"
        for topic, rows in topics.items()
        if rows
    )
    yield f"{level} {name}\n\n{_sentences(command.help)}\n\n    {name} {usage}{options}"


def _sentences(words: str | None) -> str:
    return text(inspect.cleandoc(words or "").replace("\b\n", "").replace("\n", " "))


# Python


def public_packages() -> list[str]:
    """Return the packages of `coun` that users import: a reading order, then by name."""
    names = {path.parent.name for path in (ROOT / "src" / "coun").glob("*/__init__.py")}
    return [*FIRST, *sorted(names - {*FIRST, *PRIVATE})]


@cache
def api_pages() -> dict[str, str]:
    """Return one page for each public package; mkdocstrings fills in the descriptions."""
    described: dict[str, str] = {}
    pages = {"reference/index.md": ""}
    for package in public_packages():
        module = importlib.import_module(f"coun.{package}")
        names = getattr(module, "__all__", None) or ["Card", "Setting", "Method", "Training"]
        places = [place for name in sorted(names) if (place := _place(module, name))]
        entries = [_entry(module, place) for place in places if place not in described]
        others = [
            f"[`{place.split('.')[-1]}`]({described[place]}.md#{place})"
            for place in places
            if place in described
        ]
        also = f"This package also exports {', '.join(others)}." if others else ""
        described |= dict.fromkeys((p for p in places if p not in described), package)
        about = text(inspect.getdoc(module).split("\n>>>")[0].strip())  # type: ignore[union-attr]
        body = "\n\n".join(filter(None, (about, also, *entries)))
        pages[f"reference/{package}.md"] = f"# coun.{package}\n\n{body}\n"
    pages["reference/index.md"] = _top_page(described)
    return pages


def _place(module: Any, name: str) -> str:
    """Return where *name* is defined, which is where its description is; "" for a constant."""
    value = getattr(module, name, None)
    if name in ("Card", "Setting"):
        return f"coun.plans.card.{name}"
    if module.__name__ == "coun.plans":
        return f"coun.plans.method.{name}"
    home = getattr(value, "__module__", None) or ""
    if home.startswith("coun.") and getattr(value, "__qualname__", "") == name:
        return f"{home}.{name}"
    return ""


def _entry(module: Any, place: str) -> str:
    """Return the lines that describe *place*, with what it inherits from unlisted classes."""
    value = getattr(module, place.rpartition(".")[2], None)
    bases = value.__bases__ if isinstance(value, type) else ()
    unlisted = [
        base
        for base in bases
        if base.__module__.startswith("coun.") and not hasattr(module, base.__name__)
    ]
    return f"::: {place}" + "\n    options: {inherited_members: true}" * bool(unlisted)


def _top_page(described: dict[str, str]) -> str:
    import coun

    def rows() -> Iterator[tuple[str, str]]:
        for name in coun.__all__:
            value = getattr(coun, name)
            place, label = f"{getattr(value, '__module__', '')}.{name}", f"`coun.{name}`"
            if place in described:
                label = f"[{label}]({described[place]}.md#{place})"
            about = "built-in networks, by name" if name == "MODELS" else inspect.getdoc(value)
            line = text((about or "").partition("\n")[0])
            yield label, re.sub(r"\\\*(\w+)\\\*", r"*\1*", line)  # names of arguments

    return (
        "# Python\n\nThese names are imported from `coun`; each is loaded when it is first used. "
        "The other pages describe the packages below it.\n\n"
        + table(("name", "what it is"), rows())
    )


# Examples


def example_page() -> str:
    """Return a page with every example of `examples/`, which the tests run."""
    sections = []
    for path in sorted((ROOT / "examples").glob("*.py")):
        code = path.read_text("utf-8")
        about = ast.get_docstring(ast.parse(code)) or ""
        heading = path.stem.replace("_", " ").capitalize()
        heading = heading.replace("Hugging face", "Hugging Face").replace(" vit", " ViT")
        sections.append(f"## {heading}\n\n{text(about)}\n\n```python\n{code}```")
    return (
        "# Examples\n\nThese files are in `examples/`. Each is a whole program of less than 60 "
        "lines that needs no network, and the tests run all of them.\n\n" + "\n\n".join(sections)
    )


def notebook_page() -> str:
    """Return the executed notebook of `examples/` as a page."""
    path = ROOT / "examples" / "forget_a_digit.ipynb"
    cells = json.loads(path.read_text("utf-8"))["cells"]
    blocks = []
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            blocks.append(source)
            continue
        blocks.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                picture = "".join(data["image/png"]).strip()
                about = html.escape(" ".join(blocks[-2].split()), quote=True)
                blocks.append(f'<img alt="{about}" src="data:image/png;base64,{picture}">')
            else:
                blocks.append(f"```text\n{''.join(output.get('text') or data['text/plain'])}\n```")
    title, *rest = blocks
    note = f"*This page is the notebook `examples/{path.name}` with its outputs.*"
    heading, _, body = title.partition("\n\n")
    return "\n\n".join((heading, note, body, *rest))


def results_page() -> str:
    """Return the overview of the results: one row for each page, with its first paragraph."""

    def rows() -> Iterator[tuple[str, str]]:
        for path in result_paths():
            title, about, *_ = path.read_text("utf-8").split("\n\n")
            sentences = re.split(r"(?<=[\w)*][.?:]) (?=[A-Z*])", " ".join(about.split()))
            shown = " ".join(s for s in sentences if "glossary" not in s)
            yield f"[{title.removeprefix('# ').strip()}]({path.name})", shown

    return (
        "# Results\n\nEach page says what was asked and what came out, then how it was measured, "
        "with the commands, seeds, machine and date, and what the numbers do not show. The "
        "[glossary](../glossary.md) explains the terms.\n\n"
        + table(("page", "what it shows"), rows())
    )


def result_paths() -> list[Path]:
    """Return the pages of results: those that most readers look for, then the others by name."""
    names = [path.stem for path in sorted((ROOT / "docs" / "results").glob("*.md"))]
    order = [*(name for name in RESULTS_FIRST if name in names), *names]
    return [ROOT / "docs" / "results" / f"{name}.md" for name in dict.fromkeys(order)]


# The import diagram


def imports() -> dict[str, set[str]]:
    """Return which packages of `coun` each package imports."""
    package = ROOT / "src" / "coun"
    names = {path.stem for path in package.iterdir() if path.suffix == ".py" or path.is_dir()}
    names -= {"__init__", "__main__", "__pycache__", "py"}
    edges: dict[str, set[str]] = {name: set() for name in names}
    for path in package.rglob("*.py"):
        name = path.relative_to(package).with_suffix("").parts[0]
        if name not in names:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            modules = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            if isinstance(node, ast.ImportFrom) and node.module == "coun":
                modules = [f"coun.{alias.name}" for alias in node.names]
            for module in modules:
                target = module.partition(".")[2].partition(".")[0]
                if module.startswith("coun.") and target in names - {name}:
                    edges[name].add(target)
    return edges


def essential(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out an import that also follows from others (transitive reduction)."""

    @cache
    def below(name: str) -> frozenset[str]:
        return frozenset(edges[name]).union(*(below(target) for target in edges[name]))

    return {
        name: {t for t in targets if not any(t in below(other) for other in targets - {t})}
        for name, targets in edges.items()
    }


def import_diagram() -> str:
    """Draw the packages as an SVG picture; a line leads from a package to what it imports."""
    edges = essential(imports())

    @cache
    def height(name: str) -> int:
        return 1 + max((height(target) for target in edges[name]), default=-1)

    rows: dict[int, list[str]] = {}
    for name in sorted(edges):
        rows.setdefault(height(name), []).append(name)
    top, wide, step = max(rows), 640, 56
    places = {
        name: (wide * (k + 0.5) / len(names), 24 + step * (top - row))
        for row, names in rows.items()
        for k, name in enumerate(names)
    }
    lines, boxes = [], []
    for name, targets in sorted(edges.items()):
        x, y = places[name]
        for target in sorted(targets):
            a, b = places[target]
            bend = (y + b) / 2
            curve = f"C{x:.0f} {bend:.0f} {a:.0f} {bend:.0f} {a:.0f} {b:.0f}"
            lines.append(f'<path d="M{x:.0f} {y:.0f} {curve}"/>')
        half = 9 + 4.2 * len(name)
        boxes.append(
            f'<rect x="{x - half:.0f}" y="{y - 14:.0f}" width="{2 * half:.0f}" height="28" rx="6"/>'
            f'<text x="{x:.0f}" y="{y + 5:.0f}">{name}</text>'
        )
    return (
        '<div class="scrolled">'
        f'<svg class="imports" viewBox="0 0 {wide} {48 + step * top}" role="img" '
        'aria-label="Which package imports which; the table below says the same in words">'
        + "".join((*lines, *boxes))
        + "</svg></div>"
    )


if __name__ == "__main__":
    print(method_card(Card.of(catalogue()[sys.argv[1]])))
