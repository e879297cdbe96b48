"""Campaigns: long random attacks on one promise each, run by hand: `python -m tests.campaigns.NAME --count N --seed S`.

Each prints one line of counts and ends with 1 where the promise was broken. pytest collects none of them.
"""
