"""`--group-pattern`, which several commands share."""

import click

group_pattern_option = click.option(
    "--group-pattern",
    metavar="REGEX",
    help="Its one capture group finds the patient in each image's name, as in '^(p[0-9]+)_'. By default groups.csv in "
    "the data set's folder counts, then CHASE_DB1's names, and otherwise each image is its own patient.",
)
