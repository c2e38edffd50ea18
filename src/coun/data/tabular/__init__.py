"""Parquet files and data sets of the Hub, and which of their columns hold what.

Only `hf:` sources import these modules, because importing pyarrow takes time.
"""
