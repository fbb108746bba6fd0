"""One file for each question that this project answers."""
