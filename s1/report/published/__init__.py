"""Numbers of the paper (arXiv 2501.19393) as CSV files, one per table or figure, and their reader."""
