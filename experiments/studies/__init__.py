"""Questions about explanations, the simulated cell and file formats, each with the command that answers it."""
