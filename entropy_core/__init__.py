"""Entropy of a softmax policy and how an update changes it."""
