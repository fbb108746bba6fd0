"""`python -m xrd_jax` does what launch.py does."""

from xrd_jax import cli

if __name__ == "__main__":
    cli.run()
