"""Render the files of a cluster from the templates in this folder and the variables in variables.yaml.

python cluster/render.py aws|gcp|kubernetes [--variables FILE] [--output runs/cluster]
"""

import argparse
from pathlib import Path

from factory.cli import exit_with_error_line
from factory.cluster.templates import render, write
from factory.cluster.variables import CLOUDS, load_variables


def main() -> None:
    """Render and write the files, and print their paths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cloud", choices=CLOUDS)
    parser.add_argument("--variables", type=Path, metavar="FILE", help="your variables (YAML)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", default="runs/cluster", help="default: %(default)s")
    arguments = parser.parse_args()
    variables = load_variables(arguments.cloud, arguments.variables)
    for path in write(arguments.output, render(arguments.cloud, variables)):
        print(path)


if __name__ == "__main__":
    exit_with_error_line(main)
