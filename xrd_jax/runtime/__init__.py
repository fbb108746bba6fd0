"""The process: devices, compilation cache, other hosts, a private folder for caches."""
