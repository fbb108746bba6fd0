"""Untrusted bytes: text, archives, HDF5, dates, tables of settings, plug-ins; one of each."""
