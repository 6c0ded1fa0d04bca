"""Sections of the report: each a view, which turns evidence into values, and its template."""
