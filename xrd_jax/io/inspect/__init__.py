"""Says what a bare folder or file is: survey → findings → alignment → an experiment file to start from."""
