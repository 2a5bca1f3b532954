"""Run folders, read as data, grouped over seeds and written as a page."""
