"""What papers claim, run again here: one command each, every run through the command line, resumable."""
