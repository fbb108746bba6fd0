"""Which features of XRD patterns carry the information about voltage, charging state and rate?

python launch.py --case=3        the paper's case 3 on the simulated cell
python launch.py --help          more examples, and every flag
"""

from xrd_jax import cli

if __name__ == "__main__":
    cli.run()
