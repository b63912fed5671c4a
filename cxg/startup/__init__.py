"""What happens before the server answers: what is configured is found, reached, mounted and looked at."""
