"""Evaluation: samples, replies, scores, and the engines that reply."""
