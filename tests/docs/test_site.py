"""The pages that the site makes from code are complete, and no link of a page is broken."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import click
import pytest

from coun.cli import group
from coun.methods import catalogue

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if path.name != "report.md")


@pytest.fixture(scope="module")
def website():
    """The modules of `website/`, by name."""
    sys.path.insert(0, str(ROOT / "website"))
    try:
        yield {name: importlib.import_module(name) for name in ("generate", "hooks")}
    finally:
        sys.path.remove(str(ROOT / "website"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page):
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", page.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.M)
            slugs = [re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in headings]
            assert anchor in slugs, target


WEB = {
    "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    "https://arxiv.org/abs/2509.16391",
    "https://flower.ai",
    "https://github.com/AdityaGolatkar/SelectiveForgetting",
    "https://github.com/Ali-E/AMUN",
    "https://github.com/CEA-LIST/SCE",
    "https://github.com/CityU-MLO/DualOptim",
    "https://github.com/Harry24k/machine-unlearning-pytorch",
    "https://github.com/HobbitLong/SupContrast",
    "https://github.com/Hongkyu-Lee/Contrastive-Unlearning",
    "https://github.com/IBM/federated-unlearning",
    "https://github.com/JingWu321/MUNBa",
    "https://github.com/K1nght/Unified-Unlearning-w-Remain-Geometry",
    "https://github.com/OPTML-Group/Unlearn-Saliency",
    "https://github.com/OPTML-Group/Unlearn-Sparse",
    "https://github.com/RoyRin/data-unlearning-bench",
    "https://github.com/ShaofeiShen768/LAF",
    "https://github.com/TY-LEE-KR/Boundary-Unlearning-Code",
    "https://github.com/Zoybzo/FedEraser-Code",
    "https://github.com/aanna0701/SPT_LSA_ViT",
    "https://github.com/adap/flower",
    "https://github.com/chingyaoc/DCL",
    "https://github.com/cleverhans-lab/machine-unlearning",
    "https://github.com/cleverhans-lab/unrolling-sgd",
    "https://github.com/cspartalis/LoTUS",
    "https://github.com/datasec-lab/Ruli",
    "https://github.com/facebookresearch/barlowtwins",
    "https://github.com/facebookresearch/vicreg",
    "https://github.com/if-loops/selective-synaptic-dampening",
    "https://github.com/in-toto/attestation",
    "https://github.com/juliendenize/eztorch",
    "https://github.com/kairanzhao/RUM",
    "https://github.com/lightly-ai/lightly",
    "https://github.com/lmgraves/AmnesiacML",
    "https://github.com/lucidrains/vit-pytorch",
    "https://github.com/meghdadk/SCRUB",
    "https://github.com/mgradyn/negmerge",
    "https://github.com/mlfoundations/open_clip",
    "https://github.com/pedroandreou/supreme-unlearning",
    "https://github.com/privacytrustlab/ml_privacy_meter",
    "https://github.com/secure-systems-lab/dsse",
    "https://github.com/shaaaaron/DELETE",
    "https://github.com/shash42/Evaluating-Inexact-Unlearning",
    "https://github.com/tensorflow/privacy",
    "https://github.com/vikram2000b/bad-teaching-unlearning",
    "https://github.com/vturrisi/solo-learn",
    "https://github.com/xcadet/deepunlearn",
    "https://github.com/yuanli2333/CKA-Centered-Kernel-Alignment",
    "https://www.contributor-covenant.org/version/2/1/code_of_conduct/",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    # Looked up on 2026-11-26; a link to another page is looked up by whoever adds it.,
}


def test_links_to_the_web_lead_to_pages_that_were_looked_up():
    texts = [
        page.read_text("utf-8") for page in [*PAGES, *ROOT.glob("*.md"), ROOT / "CITATION.cff"]
    ]
    links = {link for text in texts for link in re.findall(r"https?://[^\s)>\"'`|,]+", text)}
    assert links == WEB


def commands_of(page: Path) -> list[list[str]]:
    """The commands of `coun` in the code blocks of a page, in words."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S) + re.findall(r"(?m)^    (coun .*)$", text)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("coun ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_option_of_a_command_exists(page):
    for words in commands_of(page):
        command: click.Command = group
        rest = words[1:]
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            inner = command.get_command(click.Context(command), rest[0])
            if inner is None and command is not group:
                inner, rest = command.get_command(click.Context(command), "run"), ["run", *rest]
            assert inner is not None, words
            command, rest = inner, rest[1:]
        options = {name for parameter in command.params for name in parameter.opts}
        options |= {name for parameter in command.params for name in parameter.secondary_opts}
        given = {word.split("=")[0] for word in rest if word.startswith("--")}
        assert given <= options | {"--help", "--version"}, words


def test_the_navigation_names_pages_that_exist():
    pages = re.findall(r": ([\w-]+\.md)\n", (ROOT / "mkdocs.yml").read_text("utf-8"))
    made = {
        "index.md",
        "examples.md",
        "notebook.md",
        "contributing.md",
        "changelog.md",
        "security.md",
    }
    assert [
        name for name in pages if name not in made and not (ROOT / "docs" / name).exists()
    ] == []


def title(page: str) -> str:
    return re.findall(r"(?m)^# (.*)$", page)[0]


def test_the_menu_calls_a_page_by_its_title(website):
    generate, hooks = website["generate"], website["hooks"]
    made = {
        "examples.md": generate.example_page(),
        "notebook.md": generate.notebook_page(),
        "reference/cli.md": generate.reference_page(),
    }
    made |= {name: (ROOT / source).read_text("utf-8") for name, source in hooks.TOP_PAGES.items()}
    menu = re.findall(
        r'(?m)- "?([^"\n]+?)"?: ([\w/-]+\.md)$', (ROOT / "mkdocs.yml").read_text("utf-8")
    )
    for name, page in menu:
        text = made[page] if page in made else (ROOT / "docs" / page).read_text("utf-8")
        assert page == "index.md" or name == title(text)
    assert len(menu) > 25


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_a_link_that_begins_like_a_title_has_the_title_of_its_page(page):
    """Whoever follows "The words of the audit" expects a page of this name in the menu."""
    for link, target in re.findall(
        r"(?<!!)\[([A-Z][^]]*)\]\(([\w-]+\.md)\)", page.read_text("utf-8")
    ):
        assert " ".join(link.split()) == title((page.parent / target).read_text("utf-8"))


def test_the_reference_has_every_command_and_option(website):
    page = website["generate"].reference_page()

    def walk(command: click.Command, name: str) -> None:
        if isinstance(command, click.Group):
            context = click.Context(command)
            for child in command.list_commands(context):
                member = command.get_command(context, child)
                assert member is not None
                walk(member, f"{name} {child}")
            return
        _, _, section = page.partition(f"# {name}\n")
        section = section.split("\n#")[0]
        assert section, name
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert all(option in section for option in parameter.opts), (name, parameter.name)

    walk(group, "coun")


def test_every_method_has_a_page_with_its_result(website):
    pages = website["generate"].method_pages()
    for name, kind in catalogue().items():
        if kind.__module__.startswith("coun."):
            assert "## When it fails" in pages[f"methods/{name}.md"]
            assert f"({name}.md)" in pages["methods/index.md"]
    assert "| coun | 66.98±2.39 |" in pages["methods/coun.md"]
    assert "| ---: | ---: |" in pages["methods/coun.md"]  # numbers end flush and are not stretched
    assert "| >= 0, &lt; 1 |" in pages["methods/coun.md"].replace("\\>", ">")
    assert "| neggrad\\_plus + module |" in pages["methods/neggrad_plus.md"]


def test_a_card_names_a_page_by_its_title_and_a_missing_page_says_where_to_go(website):
    """On the site no file ends in .md."""
    pages = website["generate"].method_pages()
    assert title((ROOT / "docs/results/premise.md").read_text("utf-8")) in pages["methods/coun.md"]
    assert all(".md]" not in page for page in pages.values())
    missing = website["hooks"].on_post_template("<h1>404 - Not found</h1>")
    assert '<a href="/index.html">' in missing


def test_every_public_package_has_a_page(website):
    pages = website["generate"].api_pages()
    packages = {path.parent.name for path in (ROOT / "src/coun").glob("*/__init__.py")}
    assert {f"reference/{name}.md" for name in packages - {"cli", "demo"}} < set(pages)
    assert "::: coun.data.split.Split" in pages["reference/data.md"]
    assert "(runs.md#coun.runs.training.train)" in pages["reference/index.md"]


def test_examples_are_called_as_their_libraries_are(website):
    headings = re.findall(r"(?m)^## (.*)$", website["generate"].example_page())
    assert {"Hugging Face ViT", "Hugging Face text", "New method"} <= set(headings)


def test_the_notebook_is_a_page_with_its_picture(website):
    page = website["generate"].notebook_page()
    assert page.startswith("# Notebook: forget a digit\n\n")
    assert page.count('<img alt="Each row of the picture is a model') == 1
    assert "row agreement" in page


def test_the_diagram_has_every_package_and_no_circle(website):
    generate = website["generate"]
    edges = generate.imports()
    packages = {path.parent.name for path in (ROOT / "src/coun").glob("*/__init__.py")}
    assert packages <= set(edges)
    kept = generate.essential(edges)

    def below(name: str) -> set[str]:
        return set(kept[name]).union(*(below(target) for target in kept[name]))

    for name, targets in edges.items():
        assert targets <= below(name)  # what was left out still follows
        assert name not in below(name)
    assert generate.import_diagram().count("<rect") == len(edges)


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("index.md", "[a](docs/audit.md)", "[a](audit.md)"),
        ("index.md", "![a](docs/img/demo.png)", "![a](img/demo.png)"),
        ("index.md", "[a](CONTRIBUTING.md)", "[a](contributing.md)"),
        ("data.md", "[a](../examples/own_model.py)", "[a](examples.md#own-model)"),
        ("results/speed.md", "[a](../../benchmarks/speed/usual.py)", "a"),
        ("results/bench.md", "[a](cpu-tenth/report.md)", "[a](../results/cpu-tenth/tables.md)"),
        ("data.md", "[a](https://example.org)", "[a](https://example.org)"),
    ],
)
def test_links_lead_to_places_on_the_site(website, page, link, expected):
    hooks = website["hooks"]
    assert hooks.LINK.sub(lambda match: hooks.relocated(match, page), link) == expected


def test_docstrings_become_sections():
    pytest.importorskip("griffe")
    path = ROOT / "website" / "docstrings.py"
    spec = importlib.util.spec_from_file_location("website_docstrings", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (
        "What.\n\nArgs: x, y: (N,); z: one.\n\n"
        "Args:\n    a, b: two\n        lines.\n    c: one.\n\n"
        "Raises: CounError if\n    bad.\n\nSource: a paper.\n\n>>> 1 + 1\n2\n"
    )
    assert module.rewritten(text) == (
        "What.\n\nArgs:\n    x: (N,)\n    y: (N,)\n    z: one.\n\n"
        "Args:\n    a: two\n        lines.\n    b: two\n        lines.\n    c: one.\n\n"
        "Raises:\n    CounError: if bad.\n\n\n**Source.** a paper.\n\n\n"
        "```pycon\n>>> 1 + 1\n2\n```\n"
    )


def test_a_difference_stands_below_its_value(website):
    """A table of a report with ten columns would otherwise be wider than the page."""
    cell = '<td style="text-align: right;">98.17±0.03{}(+0.10)</td>'
    assert website["hooks"].on_page_content(cell.format(" ")) == cell.format("<br>")
    other = '<td style="text-align: right;">0.587 (0.494): NegGrad+</td>'
    assert website["hooks"].on_page_content(other) == other


def test_the_name_of_an_option_stays_on_one_line(website):
    marked = website["hooks"].on_page_content("<p><code>--method coun</code> and --this</p>")
    assert marked == '<p><code><span class="option">--method</span> coun</code> and --this</p>'
    block = "<pre><span></span><code>coun --help</code></pre>"
    assert website["hooks"].on_page_content(block) == block
