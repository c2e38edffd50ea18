"""Serve a deletion request every month with a registry, and verify the certificates."""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import coun

folder = Path(tempfile.mkdtemp())
rng = np.random.default_rng(0)
for level, label in enumerate(("cat", "dog")):
    (folder / "photos" / label).mkdir(parents=True)
    for person in ("alice", "bob", "carol", "dora"):
        for number in range(10):
            pixels = rng.integers(90 * level, 90 * level + 120, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / label / f"{person}-{number}.png")

data = coun.load(f"folder:{folder / 'photos'}")
coun.train(data, "mlp", epochs=8, out=folder / "original")
registry = coun.Registry.init(folder / "requests", folder / "original")

for month, person in (("2026-03", "alice"), ("2026-04", "bob")):
    ids = [name for name in [*data.ids, *data.test.ids] if person in name]
    request = registry.add(ids=ids, reason="consent withdrawn", received=f"{month}-02")
    print(f"request {request.request}: {request.rows} rows, due on {request.due}")
    result = registry.fulfil()  # makes a version, applies the gates, serves it, signs a certificate
    print(f"version {result.version} by {result.method}")
    assert not registry.verify(request.request).tampered

    # The certificate names no row. Delete the pictures, and then the key of the request.
    for path in (folder / "photos").rglob(f"{person}-*.png"):
        path.unlink()
    registry.shred(request.request)

assert registry.check() == []
print("requests that are still open:", len(registry.summary().open))
