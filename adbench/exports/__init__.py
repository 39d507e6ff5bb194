"""What `adbench score` leaves for others: results.json, a page, DICOM objects and NIfTI volumes."""
