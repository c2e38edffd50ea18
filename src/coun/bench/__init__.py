"""Benchmarks: one file in, one table with error bars out.

A config (`config.py`) becomes a plan (`plan.py`) of experiments that are named by the hash of
all they depend on (`experiment.py`). Workers (`runner.py`) compute them into a store that
benches share (`store.py`); tables are made from what lies there (`results.py`, `report.py`).
"""

from coun.bench.config import Config
from coun.bench.main import bench
from coun.bench.plan import Plan, make_plan
from coun.bench.reading import load, shipped
from coun.bench.report import report

__all__ = ["Config", "Plan", "bench", "load", "make_plan", "report", "shipped"]
