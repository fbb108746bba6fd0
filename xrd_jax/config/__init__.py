"""The experiment as frozen data; knows nothing of JAX."""
