"""The report of a record for a committee: what was tested on whom, with which result, and what stays open."""
