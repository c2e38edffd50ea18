"""Wrap the prose of a page in Markdown, so that no line of it is longer than 120 characters."""

import re
import textwrap
from itertools import pairwise

WIDTH = 120
# What begins a block of its own: an item of a list, a heading, a row of a table, a quotation, HTML.
_OPENS = re.compile(r"( *)([-*+] |\d+[.)] |#|\||>|<|!\[)?")


def wrapped(page: str) -> str:
    """The page with every paragraph and item wrapped anew that has a longer line.

    Tables, headings, code and paragraphs whose lines are short stay as they are. A line never
    breaks within `code`, so that a command can be copied.
    """
    lines, starts, fenced = page.split("\n"), [0], False
    for number, line in enumerate(lines):
        fence = line.lstrip().startswith("```")
        marker = _OPENS.match(line).group(2)
        after = lines[number - 1] if number else ""
        if fenced or fence or marker or not line.strip() or not after.strip() or after[0] in "#|`":
            starts.append(number)
        fenced ^= fence
        if fence:
            starts.append(number + 1)
    blocks = [lines[a:b] for a, b in pairwise(sorted({*starts, len(lines)}))]
    fenced, result = False, []
    for block in blocks:
        fenced ^= block[0].lstrip().startswith("```")
        indent, marker = _OPENS.match(block[0]).groups()
        is_prose = not fenced and (marker or "").strip() not in {"#", "|", "<"}
        if is_prose and len(indent) < 4 and max(map(len, block)) > WIDTH:
            text = " ".join(line.strip() for line in block)
            whole = re.sub(r"`[^`]+`", lambda code: code.group().replace(" ", "\0"), text)
            hanging = " " * (len(indent) + len(marker or ""))
            filled = textwrap.TextWrapper(
                WIDTH,
                initial_indent=indent,
                subsequent_indent=hanging,
                break_long_words=False,
                break_on_hyphens=False,
            ).wrap(whole)
            block = [line.replace("\0", " ") for line in filled]
        result += block
    return "\n".join(result)
