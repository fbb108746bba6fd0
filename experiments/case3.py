"""Case 3 of the paper: voltage, charging state and C-rate together, from patterns taken at 1C and 0.2C.

    python launch.py --case=3
    python launch.py --case=3 --resize=bin --split=cycle --workdir=runs/unseen

Expected on the simulated cell, medians of seeds 0 to 2: 21.8 mV, 97.9 %, 92.5 % (random half, spline; 257 s on two
cores); 15.1 mV, 99.5 %, 94.6 % on cycles that training never saw, with bins (343 s). The three nearest training
patterns reach 7.2 mV, 99.5 %, 95.1 % and 11.6 mV, 96.5 %, 93.7 %; the paper, on its own measurement, 18.9 mV, 98 %,
100 %. Printed by

    python -m experiments.benchmarks.accuracy --seeds=0,1,2
"""

from xrd_jax.config.cases import case3 as config

__all__ = ["config"]
