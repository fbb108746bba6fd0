"""A pattern series out of nothing: a simulated operando X-ray experiment on a lithium-ion cell."""
