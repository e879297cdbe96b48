"""Measuring: time, memory, accuracy and parity, and the machine it happens on."""
