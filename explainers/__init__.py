"""Evidence in, candidate labels out; one method a file."""
