"""Files that the browser reads: one page, one style sheet, and modules of JavaScript."""
