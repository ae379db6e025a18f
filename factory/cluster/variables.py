"""The variables of the cluster files. Their defaults are only in `cluster/variables.yaml`."""

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
"""The kind of bucket that a cloud's machines can access through their role."""

Label = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")]
"""A name that is valid in all clouds and in Kubernetes."""


def _bucket(value: str | None) -> str | None:
    if value is not None and not value.removeprefix("s3://").removeprefix("gs://").split("/")[0]:
        raise ValueError("give the bucket's name too")
    return value


Bucket = Annotated[str, Field(pattern=r"^(s3|gs)://[^/ ]*(/[^ ]*)?$"), AfterValidator(_bucket)]


class Pool(Section):
    """Maximum number of nodes of a pool; the minimum is always 0."""

    most: int = Field(ge=0)
    spot: bool


class Pools(Section):
    """The pools of workers."""

    cpu: Pool
    synthesis: Pool
    judges: Pool
    training: Pool


class Machine(Section):
    """A machine type of a cloud and its resources."""

    type: str
    cpus: int = Field(ge=1)
    gpus: int = Field(ge=0)
    accelerator: str | None = None
    """The kind of its GPUs, for `accelerator_type` in a run's config."""


class Machines(Section):
    """The machine of the head and of each pool."""

    head: Machine
    cpu: Machine
    synthesis: Machine
    judges: Machine
    training: Machine


class Aws(Section):
    """Variables of `cluster/aws.yaml`."""

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
    """Variables of `cluster/gcp.yaml`."""

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
    """Resources of a Ray pod, and the nodes it may run on."""

    cpus: int = Field(ge=1)
    memory: str = Field(pattern=r"^[1-9][0-9]*[GMT]i$")
    gpus: int = Field(ge=0)
    accelerator: str | None = None
    """The kind of its GPUs, for `accelerator_type` in a run's config."""
    node_selector: dict[str, str]


class Pods(Section):
    """The pod of the head and of each pool."""

    head: PodSize
    cpu: PodSize
    synthesis: PodSize
    judges: PodSize
    training: PodSize


class Toleration(Section):
    """A toleration of a pod, in Kubernetes' format."""

    key: str
    operator: Literal["Exists", "Equal"]
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Kubernetes(Section):
    """Variables of `cluster/kuberay/`."""

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
    """All of `cluster/variables.yaml`. There are no defaults here: the file shows every value."""

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
    """Read the shipped variables and override them with a user's file.

    Args:
        cloud: the target, whose required variables must be set.
        own: a YAML file with the variables that differ.

    Raises:
        ConfigError: a file is missing, or a variable is unknown, wrong or not set.
    """
    tree = read_mapping(SHIPPED, "variables", "name, image, pools")
    if own is not None:
        tree = _merge(tree, read_mapping(own, "variables", "name, image, pools"))
    variables = checked(Variables, tree, "variable")
    if missing := [*_unset(variables, ""), *_unset(getattr(variables, cloud), f"{cloud}.")]:
        raise ConfigError(
            f"variables required on {cloud} are not set: {', '.join(missing)}; "
            "set them in a file of your own, and pass it with --variables"
        )
    if (scheme := STORES.get(cloud)) and not str(variables.bucket).startswith(scheme):
        raise ConfigError(f"variable 'bucket' is {variables.bucket!r}: on {cloud} use {scheme}bucket/prefix")
    return variables


MAPS = ("node_selector", "spot_selector", "head_account_annotations", "worker_account_annotations")
"""Mappings with keys of the cloud; a user's mapping replaces the shipped one as a whole."""


def _merge(shipped: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Merge a user's tree into the shipped one; values are validated later."""
    merged = dict(shipped)
    for key, value in own.items():
        default = shipped.get(key)
        is_section = isinstance(default, dict) and isinstance(value, dict) and key not in MAPS
        merged[key] = _merge(default or {}, value) if is_section else value
    return merged


def _unset(section: BaseModel, path: str) -> list[str]:
    return [f"{path}{name}" for name in type(section).model_fields if getattr(section, name) is None]
