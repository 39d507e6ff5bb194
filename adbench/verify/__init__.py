"""Checks of records that believe nothing: files, figures and facts against one another."""
