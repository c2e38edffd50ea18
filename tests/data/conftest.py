"""What the tests of data share: tiny encoded images and the shape of a refusal."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image


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


@pytest.fixture
def write_parquet(tmp_path, encode):
    """Writes a parquet file of 4x4 images with the grey level 10 * label + row."""

    def make(name, labels=(0, 1, 0, 1), *, features=None, plain=False, extra=None, **change):
        contents = change.get("images")
        if contents is None:
            contents = [
                encode(10 * (y or 0) + i, mode="L", size=(4, 4)) for i, y in enumerate(labels)
            ]
        images = (
            contents if plain else [{"bytes": x, "path": f"{i}"} for i, x in enumerate(contents)]
        )
        kind = pa.binary() if plain else pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        columns = {
            "img": pa.array(images, kind),
            "label": pa.array(labels, change.get("type", pa.int64())),
        }
        columns |= extra or {}
        table = pa.table(columns)
        if features is not None:
            info = json.dumps({"info": {"features": features}})
            table = table.replace_schema_metadata({"huggingface": info})
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, row_group_size=change.get("group", 3))
        return path

    return make


@pytest.fixture
def root(tmp_path):
    """The folder that `write_parquet` writes to."""
    return tmp_path / "set"
