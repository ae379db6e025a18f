"""Publish the trained model of a run, with its card and Modelfile, to a model repository on the Hugging Face Hub.

character-factory push-model demo --push-to-hub OWNER/NAME [--public] [section.key=value ...]
"""

from factory.cli import Parser, quiet, with_absolute_paths
from factory.errors import InputError
from factory.inference.stored_models import is_finished
from factory.run_output import layout


def run() -> None:
    """Read the command line, upload the model, and print its address.

    Raises:
        UserError: the config is wrong, the run has no finished model, or the Hub refuses it.
    """
    parser = Parser(__doc__)
    parser.add_argument("--push-to-hub", required=True, metavar="OWNER/NAME", help="with the token in HF_TOKEN")
    parser.add_argument("--public", action="store_true", help="in a public repository; by default it is private")
    parser.add_argument("--verbose", action="store_true", help="show the output of libraries")
    arguments, config = parser.parse()
    config = with_absolute_paths(config)
    from factory.export.hub import MODEL, check_access, publish

    check_access(arguments.push_to_hub)
    folder = layout.own_model(config)
    if not is_finished(folder):
        raise InputError(f"{folder}: no finished model; train it first")
    with quiet(arguments.verbose):
        address = publish(folder, arguments.push_to_hub, MODEL, private=not arguments.public)
    print(f"Published: {address}")
