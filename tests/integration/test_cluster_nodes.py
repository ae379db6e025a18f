"""Nodes that Ray's autoscaler starts for the jobs' requests, and the fallback from spot to on-demand."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError
from moto import mock_aws
from ray.autoscaler._private.aws.utils import resource_cache
from ray.autoscaler._private.commands import _bootstrap_config
from ray.autoscaler._private.docker import docker_start_cmds
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.instance_manager.subscribers.cloud_resource_monitor import CloudResourceMonitor
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.autoscaler_pb2 import GangResourceRequest
from ray.core.generated.common_pb2 import LabelSelectorOperator
from ray.core.generated.instance_manager_pb2 import Instance, InstanceUpdateEvent

from factory.cluster.aws_node_provider import SpotFirstAWSNodeProvider
from factory.cluster.templates import render
from factory.cluster.variables import load_variables
from factory.runtime.capacity import ACCELERATOR
from tests.integration.iam import allows

OWN = """
image: registry.example.com/factory:0.1
bucket: s3://my-bucket
aws: {head_profile: factory-head, worker_profile: factory-worker}
gcp: {project: my-project, head_account: head@example.com, worker_account: worker@example.com}
kubernetes: {config: jobs/configs/cluster.yaml}
"""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    own = tmp_path_factory.mktemp("own") / "own.yaml"

    def rendered_for(cloud: str) -> dict[str, str]:
        own.write_text(OWN.replace("s3://", "gs://") if cloud == "gcp" else OWN)
        return render(cloud, load_variables(cloud, own))

    return rendered_for


@pytest.fixture
def types(rendered):
    def of(cloud: str) -> dict[str, Any]:
        if cloud == "kubernetes":
            cluster = yaml.safe_load(rendered(cloud)["kubernetes/raycluster.yaml"])
            config = _derive_autoscaling_config_from_ray_cr(cluster)
        else:
            config = yaml.safe_load(rendered(cloud)[f"{cloud}.yaml"])
        return AutoscalingConfig(config, skip_content_hash=True).get_node_type_configs()

    return of


HEADS = ("head", "headgroup")
REPLICA_70B = [{"CPU": 8, "GPU": 8}]
"""One actor."""
JUDGE = [{"GPU": 1}] * 4
TRAINING = [{"CPU": 0.5, "GPU": 1}] * 8
ONE_NODE = {"constraints": [(ResourceRequestUtil.PlacementConstraintType.AFFINITY, "group", "1")]}
"""Ray's request for a placement group with STRICT_PACK."""
TRAINING_POOL = {"label_selectors": [[("pool", LabelSelectorOperator.LABEL_OPERATOR_IN, ["training"])]]}
H100 = {"label_selectors": [[(ACCELERATOR, LabelSelectorOperator.LABEL_OPERATOR_IN, ["H100"])]]}


def started(types: dict[str, Any], bundles: list[dict], how: dict | None = None, **more: Any) -> dict[str, int]:
    """Return the nodes that the autoscaler starts on an empty cluster, by type; with `how`, bundles are one group."""
    requests = [ResourceRequestUtil.make(bundle, **(how or {})) for bundle in bundles]
    demand: dict[str, Any] = {"resource_requests": ResourceRequestUtil.group_by_count(requests)}
    if how is not None:
        demand = {"gang_resource_requests": [GangResourceRequest(requests=requests)]}
    reply = ResourceDemandScheduler().schedule(
        SchedulingRequest(node_type_configs=types, disable_launch_config_check=True, max_num_nodes=50, **demand, **more)
    )
    return {launch.instance_type: launch.count for launch in reply.to_launch if launch.instance_type not in HEADS}


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_each_phase_starts_nodes_of_its_pool(types, cloud):
    node_types = types(cloud)
    assert started(node_types, [{"CPU": 0.5}] * 8) == {"cpu": 1}
    assert started(node_types, REPLICA_70B) == {"synthesis": 1}
    assert started(node_types, JUDGE, ONE_NODE) == {"judges": 1}
    assert started(node_types, TRAINING, TRAINING_POOL) == {"training": 1}
    assert started(node_types, TRAINING, {}) == {"judges": 2}  # what `training.pool` is for


@pytest.mark.parametrize(("cloud", "kind"), [("aws", ""), ("gcp", ""), ("kubernetes", "-spot")])
def test_a_kind_of_gpu_starts_nodes_that_have_it(types, cloud, kind):
    node_types = types(cloud)
    assert started(node_types, [{"CPU": 4, "GPU": 4}]) == {f"judges{kind}": 1}
    assert started(node_types, [{"CPU": 4, "GPU": 4}], H100) == {f"synthesis{kind}": 1}


def test_model_too_large_for_any_node_starts_none(types):
    assert started(types("aws"), [{"CPU": 16, "GPU": 16}]) == {}


def test_spot_pods_come_first_then_on_demand(types):
    node_types = types("kubernetes")
    assert started(node_types, REPLICA_70B) == {"synthesis-spot": 1}
    assert started(node_types, JUDGE, ONE_NODE) == {"judges-spot": 1}
    assert started(node_types, TRAINING, TRAINING_POOL) == {"training": 1}
    recent_failures = {"recoverable_resource_availabilities": {"judges-spot": 0.5, "cpu-spot": 0.0}}
    assert started(node_types, JUDGE, ONE_NODE, **recent_failures) == {"judges": 1}
    assert started(node_types, [{"CPU": 1}] * 30, **recent_failures) == {"cpu": 1}


def test_ray_forgets_launches_that_fail_at_once():
    monitor = CloudResourceMonitor()

    def tell(status: int) -> dict[str, float]:
        monitor.notify([InstanceUpdateEvent(instance_type="judges", new_instance_status=status)])
        return monitor.get_recoverable_resource_availabilities()

    assert tell(Instance.ALLOCATION_FAILED) == {}
    assert tell(Instance.ALLOCATION_TIMEOUT) == {"judges": 0.0}


@pytest.fixture(scope="module")
def aws(rendered, tmp_path_factory):
    """The cluster file, bootstrapped by Ray on an EC2 simulated by moto."""
    mock = mock_aws()
    mock.start(reset=False)  # moto also simulates the other tests' bucket: neither start nor stop may clear it
    with pytest.MonkeyPatch.context() as environment, ExitStack() as ending:
        ending.callback(mock.stop, remove_data=False)
        environment.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # Ray creates an SSH key there
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "testing")
        resource_cache.cache_clear()
        for profile in ("factory-head", "factory-worker"):
            boto3.client("iam", "us-east-1").create_instance_profile(InstanceProfileName=profile)
        yield _bootstrap_config(yaml.safe_load(rendered("aws")["aws.yaml"]), no_config_cache=True)
    resource_cache.cache_clear()


def test_bootstrapped_cluster_opens_only_ssh(aws):
    assert Path(aws["auth"]["ssh_private_key"]).is_file()
    for one in aws["available_node_types"].values():
        assert one["node_config"]["SubnetIds"]
    assert aws["available_node_types"]["synthesis"]["resources"].items() >= {"CPU": 192, "GPU": 8}.items()
    (groups,) = {tuple(one["node_config"]["SecurityGroupIds"]) for one in aws["available_node_types"].values()}
    (group,) = boto3.client("ec2", "us-east-1").describe_security_groups(GroupIds=groups)["SecurityGroups"]
    open_to_all = [rule for rule in group["IpPermissions"] if rule["IpRanges"]]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in open_to_all] == [(22, 22)]
    (inside,) = (rule for rule in group["IpPermissions"] if not rule["IpRanges"])
    assert [pair["GroupId"] for pair in inside["UserIdGroupPairs"]] == [group["GroupId"]]


def no_spot(params: dict[str, Any], **_: Any) -> None:
    if "InstanceMarketOptions" in params:
        raise ClientError({"Error": {"Code": "InsufficientInstanceCapacity", "Message": "none"}}, "RunInstances")


def launched(config: dict[str, Any], pool: str, answer: Any = lambda **_: None) -> list[str | None]:
    """Launch a node, and return the lifecycle of the launched ones: spot, or None for on-demand."""
    provider = SpotFirstAWSNodeProvider(config["provider"], config["cluster_name"])
    events = provider.ec2_fail_fast.meta.client.meta.events
    events.register("provide-client-params.ec2.RunInstances", answer)
    tags = {"ray-node-kind": "worker", "ray-user-node-type": pool}
    try:
        nodes = provider.create_node(config["available_node_types"][pool]["node_config"], tags, 1)
    finally:
        events.unregister("provide-client-params.ec2.RunInstances", answer)
    assert set(nodes) <= set(provider.non_terminated_nodes({}))
    return [node.instance_lifecycle for node in nodes.values()]


def test_node_is_spot_if_available(aws):
    assert launched(aws, "judges") == ["spot"]


def test_node_is_on_demand_without_spot(aws):
    assert launched(aws, "judges", no_spot) == [None]


def test_node_is_on_demand_if_a_zone_lacks_its_type(aws):
    subnets = aws["available_node_types"]["judges"]["node_config"]["SubnetIds"]

    def answer_where(without: str) -> Callable[..., None]:
        def answer(params: dict[str, Any], **_: Any) -> None:
            if params["SubnetId"] == without and "InstanceMarketOptions" in params:
                raise ClientError({"Error": {"Code": "Unsupported", "Message": "not in this zone"}}, "RunInstances")
            no_spot(params)

        return answer

    assert len(subnets) > 1
    for without in subnets:
        assert launched(aws, "judges", answer_where(without)) == [None]


def test_on_demand_pool_is_never_spot(aws):
    assert launched(aws, "training", no_spot) == [None]


def test_other_launch_errors_are_raised(aws):
    def refuses(params: dict[str, Any], **_: Any) -> None:
        raise ClientError({"Error": {"Code": "UnauthorizedOperation", "Message": "no"}}, "RunInstances")

    with pytest.raises(Exception, match="UnauthorizedOperation"):
        launched(aws, "judges", refuses)


class ZoneOfGcp:
    """A simulated Compute Engine zone with a number of spot machines."""

    def __init__(self, spot: int, error: str = "ZONE_RESOURCE_POOL_EXHAUSTED") -> None:
        self.spot, self.error, self.launched = spot, error, []

    def create_instances(self, config: dict[str, Any], labels: dict[str, str], count: int) -> list[tuple[dict, str]]:
        for _ in range(count):
            spot = config["scheduling"].get("provisioningModel") == "SPOT"
            if spot and self.spot == 0:
                raise Exception({"errors": [{"code": self.error}]})
            self.spot -= spot
            self.launched.append((spot, config["scheduling"]))
        return [({}, f"node-{len(self.launched) - index}") for index in range(count)]


def on_gcp(rendered: Any, pool: str, zone: ZoneOfGcp, count: int) -> dict[str, Any]:
    pytest.importorskip("googleapiclient", reason="google-api-python-client is not installed")
    from ray.autoscaler._private.gcp.node import GCPNodeType

    from factory.cluster.gcp_node_provider import SpotFirstGCPNodeProvider

    class Offline(SpotFirstGCPNodeProvider):
        def _construct_clients(self) -> None:
            self.resources = {GCPNodeType.COMPUTE: zone}

    config = yaml.safe_load(rendered("gcp")["gcp.yaml"])
    provider = Offline(config["provider"], config["cluster_name"])
    return provider.create_node(config["available_node_types"][pool]["node_config"], {}, count)


def test_gcp_launches_missing_spot_on_demand(rendered):
    zone = ZoneOfGcp(spot=2)
    assert len(on_gcp(rendered, "judges", zone, 3)) == 3
    assert [spot for spot, _ in zone.launched] == [True, True, False]
    assert zone.launched[-1][1] == {"automaticRestart": False, "onHostMaintenance": "TERMINATE"}


def test_other_gcp_errors_are_raised(rendered):
    with pytest.raises(Exception, match="PERMISSION_DENIED"):
        on_gcp(rendered, "judges", ZoneOfGcp(spot=0, error="PERMISSION_DENIED"), 1)


REGION = "arn:aws:ec2:us-east-1"
OURS = {"aws:ResourceTag/ray-cluster-name": "character-factory", "aws:RequestedRegion": "us-east-1"}


@pytest.fixture
def allowed(rendered):
    """Check if the head's role allows an action, by default on resources with the cluster's tag."""
    policy = json.loads(rendered("aws")["aws-head-policy.json"])
    return lambda action, resource, context=(): allows(policy, action, resource, OURS | dict(context))


def requested(tags: list[dict[str, str]]) -> dict[str, str]:
    return {f"aws:RequestTag/{tag['Key']}": tag["Value"] for tag in tags}


def asked_for(operation: str, params: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield the actions, resources and contexts that EC2 authorizes for a call."""
    action = f"ec2:{operation}"
    if operation.startswith("Describe"):
        yield action, "*", {}
    elif operation in ("TerminateInstances", "CreateTags"):
        for one in params.get("InstanceIds") or params["Resources"]:
            yield action, f"{REGION}:1:instance/{one}", requested(params.get("Tags", ()))
    else:
        assert operation == "RunInstances"
        (spec,) = params["TagSpecifications"]
        tags = requested(spec["Tags"])
        untagged = {"aws:ResourceTag/ray-cluster-name": ""}
        yield "ec2:CreateTags", f"{REGION}:1:instance/new", {**tags, **untagged, "ec2:CreateAction": operation}
        tokens = params["MetadataOptions"]["HttpTokens"]
        machine = {"ec2:InstanceType": params["InstanceType"], "ec2:MetadataHttpTokens": tokens}
        yield action, f"{REGION}:1:instance/new", {**tags, **untagged, **machine}
        parts = [f"subnet/{params['SubnetId']}", *(f"security-group/{one}" for one in params["SecurityGroupIds"])]
        for part in [*parts, f"key-pair/{params['KeyName']}", "network-interface/new", "volume/new"]:
            yield action, f"{REGION}:1:{part}", untagged
        yield action, f"{REGION}::image/ami-1", untagged
        if "InstanceMarketOptions" in params:
            yield action, f"{REGION}:1:spot-instances-request/new", untagged


def test_head_role_allows_all_of_rays_calls(aws, allowed):
    provider = SpotFirstAWSNodeProvider(aws["provider"], aws["cluster_name"])
    calls = []

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        calls.append((model.name, dict(params)))

    for one in (provider.ec2.meta.client, provider.ec2_fail_fast.meta.client):
        one.meta.events.register("provide-client-params.ec2.*", note)
    tags = {"ray-node-kind": "worker", "ray-user-node-type": "judges"}
    nodes = provider.create_node(aws["available_node_types"]["judges"]["node_config"], tags, 1)
    provider.non_terminated_nodes({})
    for node in nodes:
        provider.set_node_tags(node, {"ray-node-status": "up-to-date"})
    provider.terminate_nodes(list(nodes))
    assert {"RunInstances", "CreateTags", "DescribeInstances", "TerminateInstances"} <= {name for name, _ in calls}
    for name, params in calls:
        for action, resource, context in asked_for(name, params):
            assert allowed(action, resource, context), (action, resource, context)


def test_head_role_allows_nothing_on_other_instances(allowed):
    other = f"{REGION}:1:instance/i-1"
    machine = {"ec2:InstanceType": "g6e.12xlarge", "ec2:MetadataHttpTokens": "required"}
    tag, mine = "aws:ResourceTag/ray-cluster-name", {"aws:RequestTag/ray-cluster-name": "character-factory"}
    for context in ({tag: "other"}, {tag: ""}):
        assert not allowed("ec2:TerminateInstances", other, context)
        assert not allowed("ec2:CreateTags", other, context | mine)  # nor take them over
        launch = context | mine | machine
        assert allowed("ec2:RunInstances", other, launch)
        assert not allowed("ec2:RunInstances", other, context | machine)
        assert not allowed("ec2:RunInstances", other, launch | {"ec2:InstanceType": "p6.48xlarge"})
        assert not allowed("ec2:RunInstances", other, launch | {"ec2:MetadataHttpTokens": "optional"})
    assert not allowed("ec2:CreateTags", other, {"aws:RequestTag/ray-cluster-name": "other"})
    for name in ("TerminateInstances", "CreateTags", "StopInstances", "DeleteTags", "ModifyInstanceAttribute"):
        action = f"ec2:{name}"
        assert not allowed(action, "arn:aws:ec2:eu-west-1:1:instance/i-1", mine)
        assert not allowed(action, f"{REGION}:1:volume/vol-1", mine)


def test_head_role_reads_only_its_image_parameter(allowed):
    public = "arn:aws:ssm:us-east-1::parameter/aws/service/deeplearning/ami/x86_64"
    assert allowed("ssm:GetParameters", f"{public}/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id")
    assert not allowed("ssm:GetParameters", f"{public}/other/latest/ami-id")
    assert not allowed("ssm:GetParameters", "arn:aws:ssm:us-east-1:1:parameter/database/password")


@pytest.mark.parametrize(
    ("image", "parameter", "started"),
    [
        ("ami-0123", None, "arn:aws:ec2:us-east-1::image/ami-0123"),
        ("resolve:ssm:/team/image:3", "arn:aws:ssm:us-east-1:*:parameter/team/image", "arn:aws:ec2:us-east-1::image/*"),
        ("resolve:ssm:image", "arn:aws:ssm:us-east-1:*:parameter/image", "arn:aws:ec2:us-east-1::image/*"),
    ],
)
def test_head_role_follows_image_and_network(tmp_path, image, parameter, started):
    own = tmp_path / "own.yaml"
    aws = {"image_id": image, "subnets": ["subnet-1", "subnet-2"], "security_groups": ["sg-1"]}
    tree = yaml.safe_load(OWN)
    own.write_text(yaml.safe_dump(tree | {"aws": tree["aws"] | aws}))
    policy = json.loads(render("aws", load_variables("aws", own))["aws-head-policy.json"])
    statements = {one["Sid"]: one for one in policy["Statement"]}
    assert statements.get("LookUpTheImage", {}).get("Resource") == parameter
    assert started in statements["LaunchThemFromAndWith"]["Resource"]
    named = [one.rpartition(":")[2] for one in statements["LaunchThemFromAndWith"]["Resource"]]
    assert [one for one in named if one.startswith(("subnet", "security"))] == [
        "subnet/subnet-1", "subnet/subnet-2", "security-group/sg-1",
    ]  # fmt: skip


def test_metadata_is_one_hop_away(aws):
    command = docker_start_cmds("ubuntu", "image", {}, "factory", aws["docker"]["run_options"], "x", "/root", "docker")
    assert "--net=host" in command.split()
    machines = [one["node_config"]["MetadataOptions"] for one in aws["available_node_types"].values()]
    assert {machine["HttpPutResponseHopLimit"] for machine in machines} == {1}
