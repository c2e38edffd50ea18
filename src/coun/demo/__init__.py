"""A complete example on the bundled digits, told as a story with an end, in a minute or two."""

from coun.demo.story import Story, demo

__all__ = ["Story", "demo"]
