"""What a study saw that calls for a change other than of the rate; one rule a file."""
