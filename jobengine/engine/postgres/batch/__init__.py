"""Commands in one transaction: plan, begin, load, decide, write."""
