"""The template of the page of scores."""
