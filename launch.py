"""Which features of XRD patterns carry the information about voltage, charging state and rate?

Examples:
  python launch.py --case=3                                  the paper's case 3 on the simulated cell
  python launch.py --case=1 --seeds=8 --workdir=runs/eight   eight networks side by side: mean and spread
  python launch.py --case=3 --resize=bin --split=cycle --workdir=runs/unseen   cycles that training never saw
  python launch.py --case=2 --cell=low_dose --workdir=runs/dim                 a tenth of the photons
  python launch.py --case=2 --data=experiments/operando_xrd_mo.toml --data_root=DIR --workdir=runs/mo
                                                             measured patterns with a cycler log
  python launch.py --mode=inspect --data=FOLDER              what is there, in plain words, and an experiment file
  python launch.py --mode=predict --workdir=runs/mo --data=FOLDER              a trained run on new patterns
  python launch.py --case=3 --set model.attention=off --set train.batch_size=32 --workdir=runs/off
  python launch.py --ablation=list                           named ablations; --ablation=attention --seeds=8 runs one

A run directory holds config.json, metrics.json, table.md, predictions.csv, vaw.npz, figures/, checkpoints/ and
tensorboard/. Interrupt at any time: the same command resumes and ends with the same numbers.
"""

from absl import flags

from experiments import case1, case2, case3
from experiments.ablations import ABLATIONS
from xrd_jax import cli

flags.adopt_module_key_flags(cli)

if __name__ == "__main__":
    cli.run({1: case1.config, 2: case2.config, 3: case3.config}, ABLATIONS)
