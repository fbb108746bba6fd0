"""Explanations of a run: maps, their controls and scores, named peaks."""
