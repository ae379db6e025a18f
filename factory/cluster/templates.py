"""Renders the templates of cluster files; an undefined variable is an error."""

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from factory.cluster.variables import SHIPPED, Cloud, Machine, Variables
from factory.config.loading import load_config
from factory.errors import ConfigError
from factory.storage.absolute_paths import input_path

TEMPLATES = SHIPPED.parent
POOLS = ("cpu", "synthesis", "judges", "training")
JOBS = {
    "synthesize": ("cpu", "synthesis"),
    "curate": ("cpu",),
    "train": ("cpu", "training"),
    "evaluate": ("cpu", "synthesis", "judges"),
    "generate_benchmark": ("cpu", "synthesis"),
    "judge_check": ("cpu", "judges"),
    "freeze_benchmark": ("cpu", "judges"),
}
"""The jobs with a RayJob, and the pools of its cluster: `synthesis` if a model may need eight GPUs."""

SPOT_PRIORITY = 10
"""The autoscaler's priority of spot pods; that of on-demand pods is 0."""


def render(cloud: Cloud, variables: Variables) -> dict[str, str]:
    """Return the files of a cloud's cluster, by their path relative to the output folder.

    Raises:
        ConfigError: a template uses an undefined variable.
    """
    return dict(_files(cloud, variables))


def _files(cloud: Cloud, variables: Variables) -> Iterator[tuple[str, str]]:
    if cloud == "kubernetes":
        config_text = _config_text(variables)
        for name in ("access", "network", "raycluster", "rayservice-judges"):
            yield (
                f"kubernetes/{name}.yaml",
                _render_template(f"kuberay/{name}.yaml", variables, pools_here=POOLS, config_text=config_text),
            )
        for job, pools in JOBS.items():
            text = _render_template("kuberay/rayjob.yaml", variables, job=job, pools_here=pools)
            yield f"kubernetes/rayjob-{job.replace('_', '-')}.yaml", text
        return
    yield f"{cloud}.yaml", _render_template(f"{cloud}.yaml", variables, cloud=cloud, pools_here=POOLS)
    if cloud == "aws":
        for who in ("head", "worker"):
            yield f"aws-{who}-policy.json", _render_template("aws-policy.json", variables, who=who)


def _config_text(variables: Variables) -> str:
    """Return the run's config, which is copied into the cluster unchanged.

    Raises:
        ConfigError: the config is wrong, or its output is not in the bucket.
    """
    path, bucket = input_path(str(variables.kubernetes.config)), str(variables.bucket).rstrip("/")
    if not Path(path).is_file():
        raise ConfigError(f"variable 'kubernetes.config' is {variables.kubernetes.config!r}: no such file")
    output = load_config(path).output
    if not f"{output}/".startswith(f"{bucket}/"):
        raise ConfigError(f"config {path}: output is {output!r}, which is not in the variable 'bucket' ({bucket})")
    return Path(path).read_text(encoding="utf-8")


def _render_template(template: str, variables: Variables, **values: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # these are YAML and JSON: values are escaped by `quoted` or `as_yaml`
    )
    environment.filters["quoted"] = json.dumps
    environment.filters["as_yaml"] = _as_yaml
    environment.filters["resources"] = _resources
    ray = {"ray_version": version("ray"), "spot_priority": SPOT_PRIORITY}
    try:
        return environment.get_template(template).render(**dict(variables), **ray, **values)
    except TemplateError as problem:
        raise ConfigError(f"cluster/{template}: {problem}") from None


def _as_yaml(value: Any) -> str:
    """Format a value as one line of YAML."""
    return yaml.safe_dump(value, default_flow_style=True, width=2**20).removesuffix("\n").removesuffix("\n...")


def _resources(machine: Machine) -> dict[str, int]:
    """Return a machine's resources with Ray's names."""
    return {"CPU": machine.cpus} | ({"GPU": machine.gpus} if machine.gpus else {})


def write(folder: Path, files: dict[str, str]) -> list[Path]:
    """Write rendered files, and return their paths.

    Raises:
        ConfigError: the folder cannot be written.
    """
    written = []
    for name, text in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as problem:
            raise ConfigError(f"--output {folder}: {problem.strerror}; use another folder") from None
        written.append(path)
    return written
