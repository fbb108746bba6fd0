"""What is known of the simulated cell: Fisher information, exact posterior, Shapley values, ground truth."""
