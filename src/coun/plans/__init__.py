"""Building blocks of methods: the base classes, and the parts that several methods share."""
