"""What needs no network: neighbours, linear models, Gaussian processes, trees and likelihoods of training patterns."""
