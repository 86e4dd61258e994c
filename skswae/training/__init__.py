"""The training loop, and what is done to a batch before and after it."""
