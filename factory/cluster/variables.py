"""The variables of a cluster. Their values stand in `cluster/variables.yaml`, and nowhere else."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from factory.config import LocalPath, Section
from factory.config.loading import checked, read_mapping
from factory.errors import ConfigError
from factory.resources import RESOURCES

SHIPPED = RESOURCES / "cluster" / "variables.yaml"
CLOUDS = ("aws", "gcp", "kubernetes")
Cloud = Literal["aws", "gcp", "kubernetes"]

STORES: dict[Cloud, str] = {"aws": "s3://", "gcp": "gs://"}
"""The bucket that the machines of a cloud may use by their role."""

Label = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")]
"""What clouds and Kubernetes take as a name."""


def _bucket(value: str | None) -> str | None:
    if value is not None and not value.removeprefix("s3://").removeprefix("gs://").split("/")[0]:
        raise ValueError("give the bucket's name too")
    return value


Bucket = Annotated[str, Field(pattern=r"^(s3|gs)://[^/ ]*(/[^ ]*)?$"), AfterValidator(_bucket)]


class Pool(Section):
    """How many nodes a pool may have; the fewest are always none."""

    most: int = Field(ge=0)
    spot: bool


class Pools(Section):
    """The pools of workers."""

    cpu: Pool
    synthesis: Pool
    judges: Pool
    training: Pool


class Machine(Section):
    """A machine type of a cloud, and what it has."""

    type: str
    cpus: int = Field(ge=1)
    gpus: int = Field(ge=0)


class Machines(Section):
    """The machine of the head and of each pool."""

    head: Machine
    cpu: Machine
    synthesis: Machine
    judges: Machine
    training: Machine


class Aws(Section):
    """What only `cluster/aws.yaml` asks for."""

    region: str
    zones: str
    image_id: str
    head_profile: str | None
    worker_profile: str | None
    security_groups: tuple[str, ...]
    subnets: tuple[str, ...]
    private: bool
    disk_gib: int = Field(ge=100)
    machines: Machines


class Gcp(Section):
    """What only `cluster/gcp.yaml` asks for."""

    project: str | None
    region: str
    zone: str
    source_image: str
    head_account: str | None
    worker_account: str | None
    subnetwork: str | None
    private: bool
    disk_gib: int = Field(ge=100)
    machines: Machines


class PodSize(Section):
    """What a Ray pod takes of its machine, and where it may stand."""

    cpus: int = Field(ge=1)
    memory: str = Field(pattern=r"^[1-9][0-9]*[GMT]i$")
    gpus: int = Field(ge=0)
    node_selector: dict[str, str]


class Pods(Section):
    """The pod of the head and of each pool."""

    head: PodSize
    cpu: PodSize
    synthesis: PodSize
    judges: PodSize
    training: PodSize


class Toleration(Section):
    """A taint that a pod puts up with, as Kubernetes writes it."""

    key: str
    operator: Literal["Exists", "Equal"]
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Kubernetes(Section):
    """What only `cluster/kuberay/` asks for."""

    namespace: Label
    operator_namespace: Label
    monitoring_namespace: Label
    config: LocalPath | None
    token_secret: Label
    keys_secret: Label
    head_account_annotations: dict[str, str]
    worker_account_annotations: dict[str, str]
    spot_selector: dict[str, str]
    spot_tolerations: tuple[Toleration, ...]
    gpu_tolerations: tuple[Toleration, ...]
    spot_wait_minutes: int = Field(ge=1)
    cache: str = Field(pattern=r"^[1-9][0-9]*[GT]i$")
    pods: Pods


class Variables(Section):
    """All of `cluster/variables.yaml`. None has a default here: the file shows every value that is used."""

    name: Label
    image: str | None
    bucket: Bucket | None
    idle_minutes: float = Field(gt=0)
    upscaling_speed: float = Field(gt=0)
    pools: Pools
    aws: Aws
    gcp: Gcp
    kubernetes: Kubernetes


def load_variables(cloud: Cloud, own: str | Path | None = None) -> Variables:
    """Read the shipped variables and lay a file of the user's own over them.

    Args:
        cloud: the one that they are for: what it needs must be given.
        own: a YAML file with the variables that differ.

    Raises:
        ConfigError: a file is missing, or a variable is unknown, wrong or not given.
    """
    tree = read_mapping(SHIPPED, "variables", "name, image, pools")
    if own is not None:
        tree = _laid_over(tree, read_mapping(own, "variables", "name, image, pools"))
    variables = checked(Variables, tree, "variable")
    if missing := [*_not_given(variables, ""), *_not_given(getattr(variables, cloud), f"{cloud}.")]:
        raise ConfigError(
            f"variables that {cloud} needs are not given: {', '.join(missing)}; "
            "write them into a file of your own, and name it with --variables"
        )
    if (own_store := STORES.get(cloud)) and not str(variables.bucket).startswith(own_store):
        raise ConfigError(f"variable 'bucket' is {variables.bucket!r}: on {cloud} give {own_store}bucket/prefix")
    return variables


MAPS = ("node_selector", "spot_selector", "head_account_annotations", "worker_account_annotations")
"""Mappings whose keys are the cloud's; one of the user's own takes the place of the shipped one."""


def _laid_over(shipped: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The shipped tree with the values of another; a value that is wrong is left for the check."""
    laid = dict(shipped)
    for key, value in own.items():
        under = shipped.get(key)
        deeper = isinstance(under, dict) and isinstance(value, dict) and key not in MAPS
        laid[key] = _laid_over(under or {}, value) if deeper else value
    return laid


def _not_given(section: BaseModel, path: str) -> list[str]:
    return [f"{path}{name}" for name in type(section).model_fields if getattr(section, name) is None]
