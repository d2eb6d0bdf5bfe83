"""What keeps the jobs: the door, and the engine that stands behind it."""
