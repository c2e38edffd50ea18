"""Benchmarks: from one config file to tables with error bars.

`spec` reads a config and plans experiments, which are named by the hash of everything that
they depend on. `execute` computes them into a store that benches may share. `output` makes
tables and reports from the results. Imports point this way only: `output` may use `execute`
and `spec`, `execute` may use `spec`.
"""

from coun.bench.main import bench
from coun.bench.output.merging import merge
from coun.bench.output.reporting import report
from coun.bench.spec.config import Config
from coun.bench.spec.plan import make_plan
from coun.bench.spec.planned import Plan
from coun.bench.spec.reading import load, shipped

__all__ = ["Config", "Plan", "bench", "load", "make_plan", "merge", "report", "shipped"]
