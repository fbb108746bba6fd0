"""Case 2 of the paper: do voltage and charging state, learnt together from patterns at 1C, rest on the same features?

    python launch.py --case=2

Expected on the simulated cell (random half, spline): voltage MAE 10.9 mV, state 99.3 %, medians of seeds 0 to 2; the
three nearest training patterns reach 1.9 mV and 99.7 %; the paper, on its own measurement, 18.6 mV and 97 %. Wall time
144 s on two cores. Printed by

    python -m experiments.benchmarks.accuracy --seeds=0,1,2
"""

from xrd_jax.config.cases import case2 as config

__all__ = ["config"]
