"""Kinds of inputs, one file each: what a network is built for, how an exported file describes it, what may be normalized."""
