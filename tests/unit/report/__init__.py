"""Tests of `compressor.report`."""
