"""The content of a folder."""


def content(folder):
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
