"""Random changes of bytes and of JSON documents."""

from __future__ import annotations

import copy
import random
from typing import Any

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308, -0.0, 0.5),
    *("", " ", "0", "-1", "nan", "inf", "1e999", "\x00", "\n", "a" * 5000, "é", "\u202e", "[/]"),
    *("[bold]x[/bold]", "[red]", "$x_{$", "=1+1", "../../x", "/etc/passwd", "/dev/zero", "~nobody"),
    *("~nouser/x", "os:system", "./x.py:f", "cuda:99", "mps", "meta", "ensemble:1x1", "hf:", ":"),
    *([], {}, [[]], [None], {"": None}, [1, "a", None], {"a": {"b": {}}}, ["x"] * 50),
)
WORDS = (
    *(b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe9", b"\r\n", b"'", b'"', b"[", b"]", b"{", b"}"),
    *(b"=", b"#", b",", b";", b"\t", b"-1", b"9" * 25, b"9" * 5000, b"nan", b"NaN", b"null"),
    *(b"1e999", b"[" * 3000, b'{"a":' * 3000, b"\\ud800", b"[bold]", b"$", b"true", b"1.5"),
)


def changed_bytes(content: bytes, rng: random.Random) -> bytes:
    """Flip, cut, insert, repeat or blank a part of *content*."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        place = rng.randrange(len(data) + 1)
        end = min(len(data), place + rng.choice((1, 2, 8, 64, 1000)))
        match rng.randrange(6):
            case 0:
                for at in range(place, min(end, place + 8)):
                    data[at] ^= 1 << rng.randrange(8)
            case 1:
                del data[place:]
            case 2:
                data[place:place] = rng.choice(WORDS)
            case 3:
                data[place:place] = data[place:end]
            case 4:
                data[place:end] = bytes(end - place)
            case 5:
                data[place:end] = rng.randbytes(end - place)
    return bytes(data)


def changed_values(document: Any, rng: random.Random) -> Any:
    """Replace, remove or add values at random places of a JSON document."""
    document = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places: list[tuple[Any, Any]] = []
        waiting = [document]
        while waiting:
            node = waiting.pop()
            keys = range(len(node)) if isinstance(node, list) else node
            for key in list(keys):
                places.append((node, key))
                if isinstance(node[key], dict | list):
                    waiting.append(node[key])
        if not places:
            return rng.choice(VALUES)
        node, key = rng.choice(places)
        match rng.randrange(8):
            case 0:
                del node[key]
            case 1 if isinstance(node, dict):
                node[rng.choice(("", "x", "name", "version", "sha256", "a" * 300))] = node[key]
            case 2:
                node[key] = copy.deepcopy(rng.choice(places)[0])
            case 3 if isinstance(node[key], int) and not isinstance(node[key], bool):
                node[key] += rng.choice((-1, 1, 1000, 10**12))
            case 4 if isinstance(node[key], str):
                node[key] += str(rng.choice(VALUES))
            case _:
                node[key] = copy.deepcopy(rng.choice(VALUES))
    return document
