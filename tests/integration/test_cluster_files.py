"""Ray, KubeRay and Kubernetes accept the cluster files, which match their documentation."""

import json
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.serve.schema import ServeDeploySchema

from factory.cluster.templates import JOBS, POOLS, render
from factory.cluster.variables import CLOUDS, SHIPPED, load_variables
from factory.config.loading import load_config
from factory.errors import ConfigError
from factory.resources import RESOURCES
from factory.serving.request_guard import allowed_hosts
from factory.serving.serve_app import Arguments, judges

CRDS = RESOURCES.parent / "shared" / "data" / "kuberay_crd"
OWN = """
image: registry.example.com/factory:0.1
bucket: s3://my-bucket/opencharacter
aws: {head_profile: factory-head, worker_profile: factory-worker}
gcp: {project: my-project, head_account: head@example.com, worker_account: worker@example.com}
kubernetes: {config: jobs/configs/cluster.yaml}
"""
KUBERNETES = "1.33"
"""The version that core objects are validated against; they use older features only."""


@pytest.fixture
def own(tmp_path):
    def write(more: str = "", text: str = OWN) -> Path:
        tree = yaml.safe_load(text)
        for key, value in (yaml.safe_load(more) or {}).items():
            tree[key] = {**tree.get(key, {}), **value} if isinstance(value, dict) else value
        path = tmp_path / "own.yaml"
        path.write_text(yaml.safe_dump(tree))
        return path

    return write


@pytest.fixture
def files(own):
    def rendered(cloud: str, more: str = "") -> dict[str, str]:
        path = own(more, OWN.replace("s3://", "gs://") if cloud == "gcp" else OWN)
        return render(cloud, load_variables(cloud, path))

    return rendered


def parsed(text: str) -> list[Any]:
    """Parse the documents of a YAML file, with the C loader because CRDs are long."""
    return list(yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def ray_up(files: dict[str, str], cloud: str) -> dict[str, Any]:
    (config,) = parsed(files[f"{cloud}.yaml"])
    return config


def objects(files: dict[str, str]) -> list[dict[str, Any]]:
    return [item for text in files.values() for item in parsed(text)]


def of_kind(files: dict[str, str], kind: str) -> list[dict[str, Any]]:
    return [item for item in objects(files) if item["kind"] == kind]


def ray_specs(files: dict[str, str]) -> list[dict[str, Any]]:
    """Return the spec of each Ray cluster in a folder of manifests."""
    specs = [item["spec"] for item in objects(files) if item["apiVersion"] == "ray.io/v1"]
    return [spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec for spec in specs]


def pods(files: dict[str, str]) -> list[dict[str, Any]]:
    return [
        group["template"]["spec"]
        for spec in ray_specs(files)
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])
    ]


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
@pytest.mark.parametrize(
    "more", ["", "aws: {private: true, security_groups: [sg-1], subnets: [subnet-1]}\ngcp: {private: true}"]
)
def test_ray_accepts_its_cluster_files(files, cloud, more):
    config = prepare_config(ray_up(files(cloud, more), cloud))
    validate_config(config)
    assert set(config["available_node_types"]) == {"head", *POOLS}


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_head_runs_no_tasks_and_pools_start_empty(files, cloud):
    config = ray_up(files(cloud), cloud)
    types = config["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert [types[pool]["min_workers"] for pool in POOLS] == [0, 0, 0, 0]
    assert config["max_workers"] == sum(types[pool]["max_workers"] for pool in POOLS)


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_70b_model_fits_a_node_of_its_pool(files, cloud):
    gpus_needed = load_config(RESOURCES / "jobs" / "configs" / "cluster.yaml").engine.engine_kwargs[
        "tensor_parallel_size"
    ]
    assert gpus_needed == 8 == ray_up(files(cloud), cloud)["available_node_types"]["synthesis"]["resources"]["GPU"]
    for spec in ray_specs(files("kubernetes")):
        for group in spec["workerGroupSpecs"]:
            if group["labels"]["pool"] == "synthesis":
                limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
                assert limits["nvidia.com/gpu"] == "8"


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_only_spot_pools_are_spot(files, cloud):
    types = ray_up(files(cloud), cloud)["available_node_types"]
    spot = [name for name, item in types.items() if "spot" in json.dumps(item["node_config"]).lower()]
    assert spot == ["cpu", "synthesis", "judges"]


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_dashboard_is_on_loopback_with_token(files, cloud):
    config = ray_up(files(cloud), cloud)
    (start,) = (command for command in config["head_start_ray_commands"] if "--head" in command)
    assert "--dashboard-host=127.0.0.1" in start
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert "IpPermissions" not in config["provider"].get("security_group", {})
    assert "8265" not in json.dumps(config)


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_host_commands_are_valid_shell(files, cloud):
    for command in ray_up(files(cloud), cloud)["initialization_commands"]:
        subprocess.run(["bash", "-n", "-c", f"({command})"], check=True)  # as Ray wraps it


@pytest.mark.parametrize(
    ("mounted", "done"),
    [
        ("", ["mkdir -p /mnt/factory"]),
        ("/opt/dlami/nvme", ["mkdir -p /mnt/factory", "mount --bind /opt/dlami/nvme /mnt/factory"]),
        ("/mnt/factory", []),  # the second time, as after `ray up` again
    ],
)
def test_cache_is_on_local_disks(files, tmp_path, mounted, done):
    stand_ins = {"sudo": 'echo "$@"', "mountpoint": f'[ "$2" = "{mounted}" ]'}
    for name, body in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    script = ray_up(files("aws"), "aws")["initialization_commands"][-1]
    ran = subprocess.run(
        ["bash", "-c", f"({script})"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines() == [*done, "install -d -o 1000 -g 1000 /mnt/factory/cache"]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_no_file_contains_a_key(files, cloud):
    texts = [*files(cloud).values(), *(path.read_text() for path in SHIPPED.parent.rglob("*") if path.is_file())]
    for text in texts:
        assert not re.search(r"AKIA|aws_secret|SECRET_ACCESS_KEY|BEGIN [A-Z ]*PRIVATE|hf_[A-Za-z]{20}", text)
        assert not re.search(r"(?i)(password|auth_token|api_key)[\"']?\s*[:=]\s*[\"']?[A-Za-z0-9]{8}", text)


def test_kubernetes_secrets_are_references(files):
    manifests = files("kubernetes")
    assert not of_kind(manifests, "Secret")
    for pod in pods(manifests):
        for variable in pod["containers"][0]["env"]:
            if re.search("TOKEN|KEY", variable["name"]):
                assert set(variable) == {"name", "valueFrom"}
    assert all(spec["authOptions"] == {"mode": "token", "secretName": "ray-token"} for spec in ray_specs(manifests))


def test_access_to_aws_is_by_role(files):
    rendered = files("aws")
    for name, item in ray_up(rendered, "aws")["available_node_types"].items():
        profile = "factory-head" if name == "head" else "factory-worker"
        assert item["node_config"]["IamInstanceProfile"] == {"Name": profile}
    worker, head = (json.loads(rendered[f"aws-{who}-policy.json"])["Statement"] for who in ("worker", "head"))
    assert {action.split(":")[0] for statement in worker for action in statement["Action"]} == {"s3"}
    assert worker == head[-2:]
    assert worker[1]["Resource"] == "arn:aws:s3:::my-bucket/opencharacter/*"


ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
ECR_LOGIN = f"aws ecr get-login-password --region eu-west-1 | docker login --username AWS --password-stdin {ECR}"


@pytest.mark.parametrize(
    ("cloud", "image", "login"),
    [
        ("aws", f"{ECR}/team/factory:0.1", ECR_LOGIN),
        ("gcp", "us-docker.pkg.dev/p/r/factory:0.1", "gcloud auth configure-docker us-docker.pkg.dev --quiet"),
        ("aws", "registry.example.com/factory:0.1", None),
        ("gcp", "factory", None),
    ],
)
def test_nodes_log_in_to_the_clouds_registry(files, cloud, image, login):
    commands = ray_up(files(cloud, f"image: {image}"), cloud)["initialization_commands"]
    assert [command for command in commands if "docker" in command] == ([login] if login else [])


@pytest.mark.parametrize("image", [f"{ECR}/team/factory:0.1", f"{ECR}/team/factory@sha256:00"])
def test_roles_may_pull_only_the_image(files, image):
    rendered = files("aws", f"image: '{image}'")
    for who in ("worker", "head"):
        statements = {item["Sid"]: item for item in json.loads(rendered[f"aws-{who}-policy.json"])["Statement"]}
        assert statements["LogInToRegistry"]["Action"] == ["ecr:GetAuthorizationToken"]
        assert statements["PullImage"]["Action"] == ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        assert statements["PullImage"]["Resource"] == "arn:aws:ecr:eu-west-1:123456789012:repository/team/factory"


def closed(schema: Any) -> Any:
    """Return a schema that forbids unknown keys; a CRD does not describe `metadata`, which is Kubernetes' own."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    shut = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        shut["additionalProperties"] = False
    return shut


def crd_check(kind: str) -> jsonschema.Draft202012Validator:
    (crd,) = parsed((CRDS / f"ray.io_{kind.lower()}s.yaml").read_text())
    (v1,) = (version for version in crd["spec"]["versions"] if version["name"] == "v1")
    return jsonschema.Draft202012Validator(closed(v1["schema"]["openAPIV3Schema"]))


@pytest.mark.skipif(not CRDS.is_dir(), reason="KubeRay's CRDs are not beside the project (../shared/data/kuberay_crd)")
@pytest.mark.parametrize(("kind", "many"), [("RayCluster", 1), ("RayJob", 7), ("RayService", 1)])
def test_manifests_match_kuberay_crds(files, kind, many):
    check = crd_check(kind)
    manifests = of_kind(files("kubernetes"), kind)
    assert len(manifests) == many
    for manifest in manifests:
        check.validate(manifest)
    text = yaml.safe_dump(manifests[0])
    for key in ("rayVersion", "maxReplicas", "nodeSelector", "secretKeyRef", "dashboard-host"):
        (wrong,) = parsed(text.replace(f"{key}:", f"{key}s:"))
        assert check.is_valid(wrong) == (key == "dashboard-host")  # Ray's own parameters are free


def test_kubernetes_accepts_core_objects(files):
    core = [item for item in objects(files("kubernetes")) if not item["apiVersion"].startswith("ray.io/")]
    assert sorted({item["kind"] for item in core}) == ["ConfigMap", "Namespace", "NetworkPolicy", "ServiceAccount"]
    for item in core:
        kubernetes_validate.validate(item, KUBERNETES, strict=True)


def test_kubernetes_accepts_the_pods(files):
    rendered = files("kubernetes")
    submitters = [item["spec"]["submitterPodTemplate"]["spec"] for item in of_kind(rendered, "RayJob")]
    for spec in [*pods(rendered), *submitters]:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_pods_are_restricted(files):
    rendered = files("kubernetes")
    submitters = [item["spec"]["submitterPodTemplate"]["spec"] for item in of_kind(rendered, "RayJob")]
    for pod in [*pods(rendered), *submitters]:
        assert pod["securityContext"]["runAsNonRoot"]
        (container,) = pod["containers"]
        locked = container["securityContext"]
        assert locked["capabilities"] == {"drop": ["ALL"]}
        assert not locked["allowPrivilegeEscalation"]
        assert locked["seccompProfile"] == {"type": "RuntimeDefault"}


WRITABLE = {"/tmp", "/home/ray", "/cache", "/dev/shm"}
"""For Ray's sessions, caches of libraries, models and spilled objects, and Ray's object store."""


def test_containers_write_only_to_their_volumes(files):
    rendered = files("kubernetes")
    submitters = [item["spec"]["submitterPodTemplate"]["spec"] for item in of_kind(rendered, "RayJob")]
    sidecars = [
        ({**spec["autoscalerOptions"]}, spec["headGroupSpec"]["template"]["spec"]) for spec in ray_specs(rendered)
    ]
    containers = [(pod["containers"][0], pod) for pod in [*pods(rendered), *submitters]]
    for container, pod in [*containers, *sidecars]:
        assert container["securityContext"]["readOnlyRootFilesystem"]
        empty = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
        mounts = [mount for mount in container["volumeMounts"] if not mount.get("readOnly")]
        assert {mount["name"] for mount in mounts} <= empty
        assert {mount["mountPath"] for mount in mounts} >= WRITABLE - {"/cache", "/dev/shm"}
    for pod in pods(rendered):
        assert {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]} == {*WRITABLE, "/etc/factory"}


@pytest.mark.parametrize("image", ["cpu", "gpu"])
def test_images_write_only_to_those_volumes(image):
    text = (SHIPPED.parent / f"Dockerfile.{image}").read_text()
    (kept,) = re.findall(r"^ENV (HOME=.*)", text, re.MULTILINE)
    for setting in kept.split():
        assert any(setting.partition("=")[2].startswith(place) for place in WRITABLE)


def test_ray_autoscaler_reads_the_manifests(files):
    for spec in ray_specs(files("kubernetes")):
        cluster = {"metadata": {"name": "x", "namespace": "x"}, "spec": spec}
        types = _derive_autoscaling_config_from_ray_cr(cluster)["available_node_types"]
        assert types.pop("headgroup")["resources"]["CPU"] == 0
        assert {item["min_workers"] for item in types.values()} == {0}
        for name, item in types.items():
            assert item.get("priority", 0) == (10 if name.endswith("-spot") else 0)
        assert spec["autoscalerOptions"]["version"] == "v2"


def test_spot_pool_has_equal_on_demand_group(files):
    (cluster,) = (item["spec"] for item in of_kind(files("kubernetes"), "RayCluster"))
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    assert sorted(groups) == [
        "cpu", "cpu-spot", "judges", "judges-spot", "synthesis", "synthesis-spot", "training",
    ]  # fmt: skip
    for pool in ("cpu", "judges", "synthesis"):
        spot, other = (groups[name]["template"]["spec"] for name in (f"{pool}-spot", pool))
        assert spot["containers"] == other["containers"]  # or they would not score alike
        assert "cloud.google.com/gke-spot" in spot["nodeSelector"]
        assert "cloud.google.com/gke-spot" not in other.get("nodeSelector", {})


def test_only_gpu_pods_tolerate_gpu_nodes(files):
    for spec in ray_specs(files("kubernetes")):
        for group in spec["workerGroupSpecs"]:
            pod = group["template"]["spec"]
            gpus = "nvidia.com/gpu" in pod["containers"][0]["resources"]["limits"]
            tolerated = [item["key"] for item in pod.get("tolerations", [])]
            assert ("nvidia.com/gpu" in tolerated) == gpus == (group["labels"]["pool"] != "cpu")


def test_network_policy_opens_only_named_ports(files):
    rendered = files("kubernetes")
    (policy,) = (item["spec"] for item in of_kind(rendered, "NetworkPolicy"))
    ours = {"app.kubernetes.io/part-of": "character-factory"}
    assert policy["podSelector"]["matchLabels"] == ours
    assert policy["policyTypes"] == ["Ingress"]
    within, *others = policy["ingress"]
    assert within == {"from": [{"podSelector": {"matchLabels": ours}}]}
    assert [[port["port"] for port in rule["ports"]] for rule in others] == [[8265], [8080], [8000]]
    sources = [source for rule in others for source in rule["from"]]
    assert all(source.get("podSelector", source.get("namespaceSelector"))["matchLabels"] for source in sources)
    assert not any("ipBlock" in source for source in sources)
    for spec in ray_specs(rendered):
        assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
            assert ours.items() <= group["template"]["metadata"]["labels"].items()
    assert not {"Ingress", "Service"} & {item["kind"] for item in objects(rendered)}


def test_monitoring_namespace_can_read_metrics(files):
    manifests = files("kubernetes", "kubernetes: {monitoring_namespace: prom}")
    (policy,) = (item["spec"] for item in of_kind(manifests, "NetworkPolicy"))
    (rule,) = (item for item in policy["ingress"] if item.get("ports") == [{"protocol": "TCP", "port": 8080}])
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "prom"}}}]


def test_rayjob_cluster_has_the_pools_it_needs(files):
    pools = {
        job["metadata"]["name"]: {
            group["labels"]["pool"] for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
        }
        for job in of_kind(files("kubernetes"), "RayJob")
    }
    assert pools == {
        "character-factory-synthesize": {"cpu", "synthesis"},
        "character-factory-curate": {"cpu"},
        "character-factory-train": {"cpu", "training"},
        "character-factory-evaluate": {"cpu", "synthesis", "judges"},  # a candidate may need eight GPUs
        "character-factory-generate-benchmark": {"cpu", "synthesis"},
        "character-factory-judge-check": {"cpu", "judges"},
        "character-factory-freeze-benchmark": {"cpu", "judges"},
    }


def test_rayjobs_run_existing_scripts_on_mounted_config(files):
    rendered = files("kubernetes")
    (config,) = of_kind(rendered, "ConfigMap")
    assert config["data"]["run.yaml"] == (RESOURCES / "jobs" / "configs" / "cluster.yaml").read_text()
    scripts = []
    for job in of_kind(rendered, "RayJob"):
        python, script, option, path = job["spec"]["entrypoint"].split()
        assert (python, option, path) == ("python", "--config", "/etc/factory/run.yaml")
        assert (RESOURCES / Path(script).relative_to("/factory")).is_file()
        scripts.append(Path(script).stem)
        assert job["spec"]["submitterPodTemplate"]["metadata"]["labels"] == {"factory/role": "submitter"}
    assert scripts == list(JOBS)
    for pod in pods(rendered):
        mounted = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        named = {volume["name"]: volume for volume in pod["volumes"]}
        assert set(mounted) == set(named)
        assert mounted["run"] == "/etc/factory"
        assert named["run"]["configMap"] == {"name": config["metadata"]["name"]}


def test_pods_use_defined_service_accounts(files):
    rendered = files("kubernetes", "kubernetes: {worker_account_annotations: {iam.gke.io/gcp-service-account: w@x}}")
    accounts = {item["metadata"]["name"]: item for item in of_kind(rendered, "ServiceAccount")}
    assert {pod["serviceAccountName"] for pod in pods(rendered)} == set(accounts)
    worker = accounts["character-factory-worker"]
    assert worker["metadata"]["annotations"] == {"iam.gke.io/gcp-service-account": "w@x"}
    assert worker["automountServiceAccountToken"] is False


def test_serve_accepts_the_fleet(files, tmp_path, monkeypatch):
    (service,) = of_kind(files("kubernetes"), "RayService")
    served = ServeDeploySchema.model_validate(yaml.safe_load(service["spec"]["serveConfigV2"]))
    (application,) = served.applications
    module, name = application.import_path.split(":")
    assert getattr(import_module(module), name) is judges
    assert Arguments.model_validate(application.args).config == "/etc/factory/run.yaml"


def test_cluster_fleet_accepts_any_host_name(monkeypatch):
    monkeypatch.setenv("JUDGES_API_KEY", "sesame")
    monkeypatch.setattr("factory.serving.serve_app.application", lambda fleet, *_: fleet)
    fleet = judges(Arguments(config=str(RESOURCES / "jobs" / "configs" / "cluster.yaml")))
    assert allowed_hosts(fleet.host, fleet.allowed_hosts) == ["*"]


def test_fleet_needs_a_key_and_judges(monkeypatch):
    monkeypatch.delenv("JUDGES_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"JUDGES_API_KEY holds no key"):
        judges(Arguments(config=str(RESOURCES / "jobs" / "configs" / "cluster.yaml")))
    with pytest.raises(ConfigError, match="none of kind served"):
        judges(Arguments(config=str(RESOURCES / "jobs" / "configs" / "opencharacter.yaml")))


def test_images_match_manifests_and_locks(files):
    for accelerator in ("cpu", "gpu"):
        image = (RESOURCES / "cluster" / f"Dockerfile.{accelerator}").read_text()
        assert "USER 1000:1000" in image
        assert f"--constraint locks/{accelerator}.txt" in image
        assert "ENV HOME=/home/ray HF_HOME=/cache/huggingface FACTORY_CACHE=/cache/models" in image
        assert image.index("COPY locks") < image.index("COPY . .")
    assert {pod["securityContext"]["runAsUser"] for pod in pods(files("kubernetes"))} == {1000}


def test_image_contains_only_needed_files():
    let_in = [line[1:] for line in (RESOURCES / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    needed = ["pyproject.toml", "README.md", "LICENSE", "locks", "factory", "jobs", "prompts", "data", "cluster"]
    assert let_in == needed
    assert all((RESOURCES / name).exists() for name in let_in)
    # The image installs the package, and hatchling fails where a file is missing that the wheel includes.
    wheel = tomllib.loads((RESOURCES / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {name.partition("/")[0] for name in wheel["force-include"]} <= set(let_in)


def refusal(cloud: str, path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        render(cloud, load_variables(cloud, path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("buckets: s3://x", "variable 'buckets' is unknown; did you mean 'bucket'?"),
        ("pools: {judge: {most: 1, spot: true}}", "variable 'pools.judge' is unknown; did you mean 'judges'?"),
        ("pools: {cpu: {max: 3}}", "variable 'pools.cpu.max' is unknown; "),
        ("pools: {cpu: {most: -1}}", "variable 'pools.cpu.most' is -1: "),
        ("pools: 3", "variable 'pools' is 3: give a section"),
        ("bucket: my-bucket", "variable 'bucket' is 'my-bucket': "),
        ("bucket: 's3:///x'", "variable 'bucket' is 's3:///x': "),
        ("bucket: gs://x", "variable 'bucket' is 'gs://x': on aws use s3://bucket/prefix"),
        ("name: My_Cluster", "variable 'name' is 'My_Cluster': give small letters, digits and hyphens"),
        ("image: null", "variables required on aws are not set: image; "),
        ("aws: {worker_profile: null}", "not set: aws.worker_profile; "),
    ],
)
def test_wrong_variable_is_one_line(own, more, message):
    assert message in refusal("aws", own(more))


def test_clouds_require_only_their_own_variables(own):
    path = own("aws: {head_profile: null}\nkubernetes: {config: null}\ngcp: {project: null}")
    assert "aws.head_profile; " in refusal("aws", path)
    assert "kubernetes.config; " in refusal("kubernetes", path)
    assert "gcp.project; " in refusal("gcp", path)


def test_bucket_of_another_cloud_is_refused(own):
    assert refusal("gcp", own()) == (
        "variable 'bucket' is 's3://my-bucket/opencharacter': on gcp use gs://bucket/prefix"
    )


def test_missing_config_or_foreign_output_is_refused(own):
    assert "'kubernetes.config' is 'none.yaml': no such file" in refusal(
        "kubernetes", own("kubernetes: {config: none.yaml}")
    )
    assert "output is 's3://my-bucket/opencharacter', which is not in the variable 'bucket' (s3://other)" in refusal(
        "kubernetes", own("bucket: s3://other")
    )


def test_own_file_overrides_values_and_whole_labels(own):
    more = "pools: {cpu: {most: 3}}\nkubernetes: {config: jobs/configs/cluster.yaml, spot_selector: {mine: spot}}"
    variables = load_variables("kubernetes", own(more))
    assert (variables.pools.cpu.most, variables.pools.cpu.spot) == (3, True)
    assert variables.kubernetes.spot_selector == {"mine": "spot"}


def test_render_command_writes_files_or_exits_with_2(own, tmp_path):
    command = [
        sys.executable,
        RESOURCES / "cluster" / "render.py",
        "gcp",
        "--variables",
        own("bucket: gs://b"),
        "--output",
        tmp_path,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path / 'gcp.yaml'}\n"
    wrong = subprocess.run([*command[:3]], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: variables required on gcp are not set: image, bucket, gcp.project")
