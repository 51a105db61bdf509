"""Clip-Cov and KL-Cov as published, token by token in exact arithmetic, and the programs' rule of selection.

Written from the equations of the paper (10 to 14) and from what the programs do, not from the package.
Tokens are tuples (index, ℓ, ℓ_old, A) of those that count; all numbers are floats, read exactly.
"""

import math
from fractions import Fraction


def tokens_of(log_probs, old_log_probs, advantages, mask, width=2**32):
    """Return the tokens that count of nested lists; the index is the row times the width plus the column."""
    return [
        (row * width + column, log_probs[row][column], old_log_probs[row][column], advantages[row][column])
        for row in range(len(mask))
        for column in range(len(mask[row]))
        if mask[row][column]
    ]


def covariances(tokens):
    """Equation 10: return index and centred product of every token, as exact fractions."""
    n = max(1, len(tokens))
    mean_log_prob = sum((Fraction(ell) for _, ell, _, _ in tokens), Fraction(0)) / n
    mean_advantage = sum((Fraction(a) for *_, a in tokens), Fraction(0)) / n
    return {i: (Fraction(ell) - mean_log_prob) * (Fraction(a) - mean_advantage) for i, ell, _, a in tokens}


def floor_of(share, count):
    """⌊share · N⌋, the share being a decimal as printed in the paper."""
    return math.floor(Fraction(str(share)) * count)


def between(covariance, low, high):
    """The tokens among which Equation 11 draws."""
    return {i for i, c in covariance.items() if Fraction(low) < c < Fraction(high)}


def ranked(covariance, count):
    """Equation 13: the tokens of the first ranks, the lowest index first among equals."""
    return set(sorted(covariance, key=lambda i: (-covariance[i], i))[:count])


def clip_cov(tokens, dropped, low, high):
    """Equation 12 with the clip of the programs: the loss and its derivative in each ℓ."""
    n, loss, slopes = max(1, len(tokens)), 0.0, {}
    for i, ell, old, a in tokens:
        slopes[i] = 0.0
        if i in dropped:
            continue
        ratio = math.exp(ell - old)
        if (a > 0 and ratio > 1 + high) or (a < 0 and ratio < 1 - low):
            loss -= ((1 + high) if a > 0 else (1 - low)) * a / n
        else:
            loss -= ratio * a / n
            slopes[i] = -ratio * a / n
    return loss, slopes


def kl_cov(tokens, held, weight, penalty):
    """Equation 14, the divergence being `penalty(ℓ, ℓ_old)` and its derivative: the loss and its slopes."""
    n, loss, slopes = max(1, len(tokens)), 0.0, {}
    for i, ell, old, a in tokens:
        ratio = math.exp(ell - old)
        loss -= ratio * a / n
        slopes[i] = -ratio * a / n
        if i in held:
            value, slope = penalty(ell, old)
            loss += weight * value / n
            slopes[i] += weight * slope / n
    return loss, slopes


def at_least_one(share, count):
    """How many tokens the programs take from one micro-batch of so many."""
    return max(int(share * count), 1)


def programs_kl_cov(parts, share):
    """The tokens that the programs penalise: of each micro-batch the largest by its own means."""
    chosen = set()
    for tokens in parts:
        if tokens:
            chosen |= ranked(covariances(tokens), at_least_one(share, len(tokens)))
    return chosen


def programs_clip_cov(parts, share, low, high, generator):
    """The tokens that the programs drop: drawn from each micro-batch by the generator of the process."""
    chosen = set()
    for tokens in parts:
        eligible = sorted(between(covariances(tokens), low, high))
        chosen |= set(generator.sample(eligible, min(at_least_one(share, len(tokens)), len(eligible))))
    return chosen


def splitmix64(state):
    """The generator of Steele, Lea and Flood (2014): yield its 64-bit outputs from this state on."""
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        yield mix64(state)


def mix64(z):
    """The function that SplitMix64 puts its state through."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def drawn(eligible, count, seed):
    """The tokens with the smallest outputs, as signed numbers, at the place of their index in the stream."""
    signed = lambda z: z - 2**64 if z >= 2**63 else z  # noqa: E731
    start = mix64(seed % 2**64)
    key = lambda i: signed(mix64((start + (i + 1) * 0x9E3779B97F4A7C15) % 2**64))  # noqa: E731
    return set(sorted(eligible, key=key)[:count])
