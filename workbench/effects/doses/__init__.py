"""Dose-response: what a dose of any size would do, person by person."""
