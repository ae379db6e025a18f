"""Templates of cluster files to files: every variable must be known, and none is left out."""

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
}
"""The jobs that have a RayJob, and the pools that its cluster has: `synthesis` where a model may want eight GPUs."""

SPOT_FIRST = 10
"""The autoscaler's priority of a group of spot pods; that of on-demand ones is 0."""


def render(cloud: Cloud, variables: Variables) -> dict[str, str]:
    """The files of a cloud's cluster, by their path below the folder that they are written to.

    Raises:
        ConfigError: a template asks for a variable that there is not.
    """
    return dict(_files(cloud, variables))


def _files(cloud: Cloud, variables: Variables) -> Iterator[tuple[str, str]]:
    if cloud == "kubernetes":
        config_text = _config_text(variables)
        for name in ("access", "network", "raycluster", "rayservice-judges"):
            yield (
                f"kubernetes/{name}.yaml",
                _rendered(f"kuberay/{name}.yaml", variables, pools_here=POOLS, config_text=config_text),
            )
        for job, pools in JOBS.items():
            text = _rendered("kuberay/rayjob.yaml", variables, job=job, pools_here=pools)
            yield f"kubernetes/rayjob-{job.replace('_', '-')}.yaml", text
        return
    yield f"{cloud}.yaml", _rendered(f"{cloud}.yaml", variables, cloud=cloud, pools_here=POOLS)
    if cloud == "aws":
        for who in ("head", "worker"):
            yield f"aws-{who}-policy.json", _rendered("aws-policy.json", variables, who=who)


def _config_text(variables: Variables) -> str:
    """The run's config, which goes into the cluster as it stands.

    Raises:
        ConfigError: it is wrong, or its output is none that the cluster may write.
    """
    path, bucket = input_path(str(variables.kubernetes.config)), str(variables.bucket).rstrip("/")
    if not Path(path).is_file():
        raise ConfigError(f"variable 'kubernetes.config' is {variables.kubernetes.config!r}: there is no such file")
    output = load_config(path).output
    if not f"{output}/".startswith(f"{bucket}/"):
        raise ConfigError(f"config {path}: output is {output!r}, which is not in the variable 'bucket' ({bucket})")
    return Path(path).read_text(encoding="utf-8")


def _rendered(template: str, variables: Variables, **given: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # these are YAML and JSON: a value goes through `quoted` or `as_yaml`
    )
    environment.filters["quoted"] = json.dumps
    environment.filters["as_yaml"] = _as_yaml
    environment.filters["resources"] = _resources
    ray = {"ray_version": version("ray"), "spot_first": SPOT_FIRST}
    try:
        return environment.get_template(template).render(**dict(variables), **ray, **given)
    except TemplateError as problem:
        raise ConfigError(f"cluster/{template}: {problem}") from None


def _as_yaml(value: Any) -> str:
    """A value as YAML in one line, which fits any place."""
    return yaml.safe_dump(value, default_flow_style=True, width=2**20).removesuffix("\n").removesuffix("\n...")


def _resources(machine: Machine) -> dict[str, int]:
    """A machine's resources by Ray's names."""
    return {"CPU": machine.cpus} | ({"GPU": machine.gpus} if machine.gpus else {})


def write(folder: Path, files: dict[str, str]) -> list[Path]:
    """Write rendered files, and return where they lie.

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
            raise ConfigError(f"--output {folder}: {problem.strerror}; name another folder") from None
        written.append(path)
    return written
