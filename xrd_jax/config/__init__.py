"""The experiment as frozen data; knows nothing of JAX."""

from xrd_jax.config.schema import Config as Config
from xrd_jax.config.schema import ModelConfig as ModelConfig
from xrd_jax.config.schema import PrepareConfig as PrepareConfig
from xrd_jax.config.schema import TrainConfig as TrainConfig
