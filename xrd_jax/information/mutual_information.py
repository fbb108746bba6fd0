"""What one channel alone tells of a target, in bits."""

import math

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter1d

LEVELS = 24  # equally frequent voltages that are told apart
BIN_WIDTH = 0.5  # of a channel's histogram, in standard deviations of the noise


def voltage_levels(voltage: Float[np.ndarray, " P"]) -> Int[np.ndarray, " P"]:
    """Return the number of the level that each voltage is in."""
    return np.digitize(voltage, np.quantile(voltage, np.arange(1, LEVELS) / LEVELS))


def mutual_information(
    channels: Float[np.ndarray, "P L"], variance: Float[np.ndarray, "P L"], labels: Int[np.ndarray, " P"]
) -> Float[np.ndarray, " L"]:
    """Return the bits that each channel alone tells of a label, from expected channels and the variance of their noise.

    I = H(label) + H(channel) - H(label, channel), with the channel as 2 √counts, whose noise is Gaussian of variance 1.
    """
    bins = np.rint(2.0 * channels / np.sqrt(variance) / BIN_WIDTH).astype(np.int64)
    margin = math.ceil(5.0 / BIN_WIDTH)
    bins += margin - bins.min(axis=0)
    size, classes = int(bins.max()) + margin + 1, int(labels.max()) + 1
    bits = np.empty(channels.shape[1])
    for channel in range(bits.size):
        joint = np.bincount(labels * size + bins[:, channel], minlength=classes * size).reshape(classes, size)
        joint = gaussian_filter1d(joint / len(labels), 1.0 / BIN_WIDTH, axis=1, mode="constant")
        joint /= joint.sum()
        independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
        is_filled = joint > 0
        bits[channel] = (joint[is_filled] * np.log2(joint[is_filled] / independent[is_filled])).sum()
    return np.maximum(bits, 0.0)
