"""What a table is, what its numbers mean, and how it is printed."""
