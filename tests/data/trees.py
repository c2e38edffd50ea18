"""Folders of tiny pictures, as the fixture `tree` writes them."""

RED, BLUE = (250, 10, 10), (10, 10, 250)


def flat(per_class, classes="abc"):
    """Class folders with so many pictures each, none of them like another."""
    return {f"{c}/{i:03}.png": (i, ord(c), 0) for c in classes for i in range(per_class)}
