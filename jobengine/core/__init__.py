"""What is true and what follows: pure, without clock, randomness or files."""
