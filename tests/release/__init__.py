"""`make release`: builds what is published, and tries it as a user would, outside the checkout."""
