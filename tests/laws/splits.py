"""A batch selected in parts, the way a trainer would: statistics, merge, candidates, merge, selection."""

from typing import NamedTuple

import numpy as np

from entropy_core import batched


class Batch(NamedTuple):
    """Values of a batch and what Clip-Cov and KL-Cov are asked for."""

    log_probs: np.ndarray
    advantages: np.ndarray
    mask: np.ndarray
    fraction: float
    low: float
    high: float


class Found(NamedTuple):
    """The merged states, and terms and selections put together again as NumPy arrays."""

    statistics: tuple
    terms: np.ndarray
    candidates: dict
    selected: dict


def merged_at_once(merge, states):
    """Merge all states in one call."""
    return merge(states)


def merged_in_a_random_tree(merge, states, random):
    """Merge two states at a time, any two."""
    states = list(states)
    while len(states) > 1:
        random.shuffle(states)
        states.append(merge([states.pop(), states.pop()]))
    return states[0]


def selected_in_parts(layer, convert, batch, parts, seed, merged=merged_at_once):
    """Select tokens of a batch whose rows are spread over parts, each a list of rows."""
    rows = [convert(np.array(part, dtype=np.int64)) for part in parts]
    cut = [[convert(values)[part] for values in batch[:3]] for part in rows]
    statistics = merged(layer.merge_token_statistics, [layer.token_statistics(*values) for values in cut])
    terms = [layer.token_covariance_terms(*values, statistics) for values in cut]
    count = int(statistics.count)
    options = {
        "clip_cov": (layer.clip_cov_candidates, (batch.fraction, batch.low, batch.high, seed)),
        "kl_cov": (layer.kl_cov_candidates, (batch.fraction,)),
    }
    candidates, selected = {}, {}
    for method, (candidates_of, asked) in options.items():
        states = [
            candidates_of(t, values[2], count, *asked, response_indices=part)
            for t, values, part in zip(terms, cut, rows, strict=True)
        ]
        candidates[method] = merged(layer.merge_candidates, states)
        masks = [
            layer.selection_from(candidates[method], t, values[2], part).selected
            for t, values, part in zip(terms, cut, rows, strict=True)
        ]
        selected[method] = put_together(masks, parts, batch.mask)
    return Found(statistics, put_together(terms, parts, batch.mask), candidates, selected)


def put_together(values, parts, like):
    """Return the values of all parts with every row at its place in the batch."""
    whole = np.zeros(like.shape, np.asarray(values[0]).dtype)
    for value, part in zip(values, parts, strict=True):
        whole[part] = np.asarray(value)
    return whole


def part_of(selection, rows):
    """Return the selection of some rows."""
    return batched.TokenSelection(
        selection.selected[rows], selection.covariance_terms[rows], selection.eligible_count
    )


def chan_merged_means(log_probs, advantages, parts):
    """The means of two values by the pairwise merge of Chan, Golub and LeVeque, in the values' type."""
    kind = log_probs.dtype.type
    count, means = 0, [kind(0), kind(0)]
    for rows in parts:
        more = log_probs[rows].size
        for k, values in enumerate((log_probs[rows], advantages[rows])):
            delta = values.mean(dtype=kind) - means[k]
            means[k] = kind(means[k] + delta * kind(more) / kind(count + more))
        count += more
    return means
