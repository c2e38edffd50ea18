"""What MkDocs calls while it builds the site: pages made from code, and links between pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from generate import (
    ROOT,
    api_pages,
    example_page,
    import_diagram,
    method_pages,
    notebook_page,
    reference_page,
    result_paths,
    results_page,
)

TOP_PAGES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
}
DIAGRAM = "<!-- import diagram -->"
CAPTION = (
    "*A line leads from a package down to one that it imports. Imports that follow from others are "
    "left out.*"
)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_config(config: Any) -> Any:
    """Fill in the sections of the navigation whose pages are found automatically."""
    sections = {
        "methods/": [*method_pages()],
        "reference/": [*api_pages()],
        "results/": ["results/index.md", *(f"results/{p.name}" for p in result_paths())],
    }
    config.nav = _filled(config.nav, sections)
    listed = re.findall(r"[\w/-]+\.md", str(config.nav))
    new = sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name not in listed)
    how_to = next(entry["How to"] for entry in config.nav if "How to" in entry)
    how_to += new  # a page that mkdocs.yml does not place
    return config


def _filled(nav: Any, sections: dict[str, list[str]]) -> Any:
    if isinstance(nav, list):
        return [_filled(entry, sections) for entry in nav]
    if isinstance(nav, dict):
        return {name: _filled(entry, sections) for name, entry in nav.items()}
    return sections.get(nav, nav)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made from code and from the files at the top of the repository."""
    from mkdocs.structure.files import File

    pages = {page: (ROOT / source).read_text("utf-8") for page, source in TOP_PAGES.items()}
    pages |= {
        "examples.md": example_page(),
        "notebook.md": notebook_page(),
        "results/index.md": results_page(),
        "reference/cli.md": reference_page(),
    }
    pages |= method_pages() | api_pages()
    for path in (ROOT / "docs" / "results").glob("*/report.md"):
        # Under its own name the page would overwrite the report.html beside it.
        pages[f"results/{path.parent.name}/tables.md"] = path.read_text("utf-8")
    for uri, content in pages.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links to places on the site, and put the diagram into its page."""
    uri = page.file.src_uri
    if DIAGRAM in markdown:
        markdown = markdown.replace(DIAGRAM, f"{import_diagram()}\n\n{CAPTION}")
    return LINK.sub(lambda match: relocated(match, uri), markdown)


def relocated(match: re.Match[str], uri: str) -> str:
    """Rewrite one link of the page *uri*; one to a file that the site lacks becomes plain text."""
    image, text, target = match.groups()
    if re.match(r"https?:|mailto:|#", target):
        return match[0]
    path, _, anchor = target.partition("#")
    source = ROOT / TOP_PAGES.get(uri, f"docs/{uri}")
    absolute = Path(_normal((source.parent / path).relative_to(ROOT).as_posix()))
    pages = {name: page for page, name in TOP_PAGES.items()}
    if absolute.as_posix() in pages:
        goal = pages[absolute.as_posix()]
    elif absolute.parts[0] == "examples":
        goal, anchor = "examples.md", absolute.stem.replace("_", "-")
        if absolute.suffix == ".ipynb":
            goal, anchor = "notebook.md", ""
    elif absolute.parts[0] == "docs":
        goal = absolute.relative_to("docs").as_posix().replace("/report.md", "/tables.md")
    else:
        return text
    up = "../" * uri.count("/")
    return f"{image}[{text}]({up}{goal}{'#' + anchor if anchor else ''})"


def _normal(path: str) -> str:
    """Resolve ".." in the relative *path* by its text alone."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def on_post_build(config: Any, **_: Any) -> None:
    """Refuse a site that would load something from a network.

    Raises: PluginError with the page and the address.
    """
    from mkdocs.exceptions import PluginError

    loads = re.compile(
        r'<(?:script|img|iframe|source)\b[^>]*\bsrc="(https?://[^"]*)"'
        r'|<link\b[^>]*rel="(?:stylesheet|preconnect|preload|icon)"[^>]*href="(https?://[^"]*)"'
    )
    for path in sorted(Path(config.site_dir).rglob("*.html")):
        if match := loads.search(path.read_text("utf-8")):
            raise PluginError(f"{path} loads {match[1] or match[2]}; the site must work offline")


def on_page_content(html: str, **_: Any) -> str:
    """Break lines where it helps: before a difference in brackets, and not within an option.

    Browsers would break an option after its first hyphens. A table of values with differences
    would be wider than the page.
    """
    html = re.sub(r'(right;">[\d.±]+) (\([+-][\d.]+\)</td>)', r"\1<br>\2", html)
    return re.sub(
        r"(?<!</span>)<code>[^<]*--[^<]*</code>",
        lambda code: re.sub(r"(--[a-z][\w-]*)", r'<span class="option">\1</span>', code[0]),
        html,
    )


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Replace the one script that the theme would load from a network by one of the site."""
    return _without_network(output, "../" * page.file.src_uri.count("/"))


def on_post_template(output: str, **_: Any) -> str:
    """Do the same for the page that a server shows where a page does not exist, and say more."""
    heading = "<h1>404 - Not found</h1>"
    more = '<p>This page does not exist. <a href="/index.html">The first page</a> has a menu.</p>'
    return _without_network(output.replace(heading, heading + more), "/")


def _without_network(output: str, top: str) -> str:
    return re.sub(r'<script src="https://unpkg[^"]*">', f'<script src="{top}search.js">', output)
