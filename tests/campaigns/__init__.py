"""Campaigns: attacks by the thousand, run as scripts and not collected by pytest."""
