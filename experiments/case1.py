"""Case 1 of the paper: which features of patterns taken at 1C carry the cell voltage?

    python launch.py --case=1

Expected on the simulated cell (random half, spline): voltage MAE 7.5 mV, median of seeds 0 to 2; 7.3 mV of seeds 0 to
7; the three nearest training patterns reach 1.9 mV; the paper, on its own measurement, 14.7 mV. Wall time 140 s on two
cores. Printed by

    python -m experiments.benchmarks.accuracy --seeds=0,1,2
"""

from xrd_jax.config.cases import case1 as config

__all__ = ["config"]
