"""Makes a pattern series out of nothing: a simulated operando X-ray experiment on a lithium-ion cell.

`cell` holds the configuration and needs no JAX; `simulate.simulate` measures it; `profile` and `crystal` are the
diffraction, `trajectories` the electrochemistry, `landmarks` where reflections lie.
"""
