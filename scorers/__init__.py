"""A label and evidence in, a score with its interval and chance level out; one method a file."""
