"""The cells of a repeated experiment, pooled over seeds: scores, differences, verdict, tables and page."""
