"""What the tests of data share: tiny encoded images and the shape of a refusal."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

from coun.errors import CounError


@pytest.fixture
def refused() -> Callable[..., contextlib.AbstractContextManager[None]]:
    """`with refused("a", "b"):` expects a one-line CounError that says a and b."""

    @contextlib.contextmanager
    def expect(*words: object) -> Iterator[None]:
        with pytest.raises(CounError) as caught:
            yield
        message = str(caught.value)
        assert "\n" not in message
        assert "Traceback" not in message
        for word in words:
            assert str(word) in message

    return expect


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """An image file's bytes: a plane of one value, or of an array."""

    def make(value=0, *, mode="RGB", size=(8, 8), format="PNG") -> bytes:
        if isinstance(value, np.ndarray):
            image = Image.fromarray(value)
        else:
            image = Image.new(mode, size, value)
        file = io.BytesIO()
        image.save(file, format)
        return file.getvalue()

    return make


@pytest.fixture
def tree(tmp_path, encode):
    """Writes files below a root: bytes, text, or a colour that is encoded as the suffix says."""
    formats = {".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".gif": "GIF", ".webp": "WEBP"}

    def make(files):
        root = tmp_path / "data"
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, tuple):
                content = encode(content, format=formats[path.suffix.lower()])
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return root

    return make
