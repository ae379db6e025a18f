from pathlib import Path

import pytest
from pydantic import ValidationError

from factory.commands.curate import run
from factory.config import RunConfig, workers
from factory.config.loading import load_config
from factory.errors import ConfigError
from factory.storage.absolute_paths import input_path, output_path
from factory.synthesis.dry_run import find_model

GOOD = """
output: runs/x
engine: {kind: scripted}
personas: {source: data/personas.jsonl}
"""


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "run.yaml"

    def write(text: str) -> Path:
        path.write_text(text)
        return path

    return write


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_key_is_refused_with_the_nearest_known_one(config_file):
    message = refusal(config_file(GOOD + "dialogs: {strategies: [generate]}"))
    assert "'dialogs'" in message
    assert "'dialogues'" in message


def test_an_unknown_key_deep_inside_is_named_with_its_path(config_file):
    message = refusal(config_file(GOOD), "profiles.sampling.temprature=1")
    assert "'profiles.sampling.temprature'" in message
    assert "'temperature'" in message


def test_a_wrong_type_names_key_and_value(config_file):
    message = refusal(config_file(GOOD), "dialogues.characters_per_instruction=many")
    assert "dialogues.characters_per_instruction" in message
    assert "'many'" in message


def test_a_missing_key_is_named(config_file):
    assert "'output'" in refusal(config_file("engine: {kind: scripted}"))


def test_a_step_needs_only_its_sections(config_file):
    config = load_config(config_file("output: x"))
    for key in ("engine", "personas"):
        with pytest.raises(ConfigError, match=rf"^config key '{key}' is missing; this step needs it, such as {key}: "):
            getattr(config, key)


def test_an_unknown_key_that_is_near_none_is_answered_with_those_that_are(config_file):
    message = refusal(config_file(GOOD), "profiles.sampling.heat=1")
    assert message == (
        "config key 'profiles.sampling.heat' is unknown; "
        "known there are temperature, top_p, frequency_penalty, max_tokens"
    )
    assert "known there are kind, model, replies, replies_file, default, delay_s, " in refusal(
        config_file(GOOD), "engine.retry=1"
    )
    assert refusal(config_file(GOOD + "vllm: {}")).startswith("config key 'vllm' is unknown; known there are output")


def test_a_key_that_stands_twice_is_refused_with_its_line(config_file):
    assert "line 5, column 1: 'output' is given twice" in refusal(config_file(GOOD + "output: y"))


def test_addresses_and_networks_are_proxies(config_file):
    written = config_file(GOOD)
    chat = load_config(written, ["chat.proxies=[127.0.0.1, '::1', 10.0.0.0/8, 'fd00::/8']"]).chat
    assert chat.proxies == ("127.0.0.1", "::1", "10.0.0.0/8", "fd00::/8")


def test_an_attempt_may_take_all_the_time_of_a_request(config_file):
    overrides = ["engine={kind: openai, model: m, timeout_s: 7200, deadline_s: 7200}"]
    assert load_config(config_file(GOOD), overrides).engine.timeout_s == 7200


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("output=", "'output' is None: give a text"), ("output=''", "'output' is '': give a whole path"),
        ("output='s3://'", "'output' is 's3://': give a whole path"), ("output='a\0'", "not YAML"),
        ("personas=x.jsonl", "'personas' is 'x.jsonl': give a section"),
        ("personas.source=3", "'personas.source' is 3: give a file, a folder or a glob, or a list of them"),
        ("personas.source=[]", "give a file, a folder or a glob"), ("personas.source=[a, '']", "give a whole path"),
        ("instructions={corpus: a, source: b}", "give a list"),
        ("dialogues.strategies=[rewrite, rewrite]", "name each once"),
        ("dialogues.strategies=[]", "'dialogues.strategies' is []: give at least one"),
        ("engine={model: x}", "'engine.kind' is missing: give one of 'vllm', 'openai', 'scripted'"),
        ("seed=-1", "'seed' is -1"), ("profiles.sampling.temperature=.inf", "finite"),
        ("safety.toxicity=1.5", "'safety.toxicity' is 1.5: "), ("safety.phone_regions=[usa]", "such as [US, KR]"),
        ("safety.personal_data=[emails]", "'safety.personal_data.0' is 'emails'"),
        ("chat.proxies=['*']", "'chat.proxies.0' is '*': give an address or a network"),
        ("chat.proxies=[10.0.0.1/8]", "'chat.proxies.0' is '10.0.0.1/8': give an address or a network"),
        ("chat.proxies=[proxy.example.com]", "give an address or a network such as 10.0.0.0/8"),
        ("chat.allowed_hosts=['chat.example.com:443']", "in small letters and without a port"),
        ("engine={kind: openai, model: m, timeout_s: 7200}", "deadline_s is 3600, so no attempt could take timeout_s"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_the_way_out(config_file, override, said):
    assert said in refusal(config_file(GOOD), override)


def test_an_unknown_engine_names_the_known_ones(config_file):
    message = refusal(config_file(GOOD), "engine={kind: vlm, model: x}")
    assert "'vllm'" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [("[1, 2]", "not a mapping"), ("a: [", "not YAML"), ("", "not a mapping")],
)
def test_a_file_that_is_no_mapping_is_refused(config_file, content, said):
    assert said in refusal(config_file(content))


def test_a_missing_file_is_named(tmp_path):
    assert "nowhere.yaml" in refusal(tmp_path / "nowhere.yaml")


def test_overrides_are_yaml_and_reach_into_lists(config_file):
    path = config_file(GOOD + "instructions: [{corpus: a, source: b}]")
    config = load_config(path, ["seed=7", "instructions.0.limit=3", "profiles.sampling.top_p=1.0"])
    assert (config.seed, config.instructions[0].limit, config.profiles.sampling.top_p) == (7, 3, 1.0)


@pytest.mark.parametrize("override", ["seed", "=3", "instructions.9.limit=1"])
def test_an_override_that_fits_nowhere_is_refused(config_file, override):
    path = config_file(GOOD + "instructions: [{corpus: a, source: b}]")
    assert override in refusal(path, override)


def test_two_corpora_of_one_name_are_refused(config_file):
    text = GOOD + "instructions: [{corpus: a, source: b}, {corpus: a, source: c}]"
    assert "twice" in refusal(config_file(text))


def test_replicas_out_of_order_are_refused(config_file):
    assert "[3, 1]" in refusal(config_file(GOOD), "engine={kind: vllm, model: embedded, replicas: [3, 1]}")


def test_a_relative_folder_of_a_model_means_the_same_on_every_machine(config_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("runs/a/model", "embedded", "gpt-4o"):
        (tmp_path / name).mkdir(parents=True)
    path = config_file(
        GOOD.replace("{kind: scripted}", "{kind: vllm, model: runs/a/model}")
        + "training: {base_model: runs/a/model}\n"
        + "evaluation: {candidates: [{name: a, model: runs/a/model}, {name: b, kind: openai, model: gpt-4o}],"
        + " judges: [{name: c, model: embedded}, {name: d, model: org/name}]}"
    )
    placed = load_config(path).with_paths(input_path, output_path)
    evaluation = placed.evaluation
    here = str(tmp_path / "runs/a/model")
    assert [placed.engine.model, placed.training.base_model, evaluation.candidates[0].model] == [here] * 3
    assert [one.model for one in (evaluation.candidates[1], *evaluation.judges)] == ["gpt-4o", "embedded", "org/name"]


def test_a_seed_of_the_engine_beside_the_runs_own_is_refused(config_file):
    vllm = "{kind: vllm, model: embedded, engine_kwargs: {seed: 7}}"
    assert "set the key `seed` of the run" in refusal(config_file(GOOD), f"engine={vllm}")
    assert "evaluation" in refusal(config_file(GOOD), f"evaluation.candidates=[{{name: a, {vllm[1:-1]}}}]")


def test_the_resolved_config_comes_back_the_same_from_json(config_file):
    config = load_config(config_file(GOOD))
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("passed", "number"),
    [
        ({}, 1),
        ({"tensor_parallel_size": 8}, 8),
        ({"pipeline_parallel_size": 2}, 2),
        ({"tensor_parallel_size": 4, "pipeline_parallel_size": 2}, 8),
        ({"tensor_parallel_size": 4, "prefill_context_parallel_size": 2, "decode_context_parallel_size": 4}, 8),
        ({"tensor_parallel_size": 2, "data_parallel_size": 1}, 2),
    ],
)
def test_a_replica_has_a_process_for_each_part_of_its_model(passed, number):
    assert workers(passed) == number


def test_an_executor_that_would_keep_its_gpus_is_refused(config_file):
    message = refusal(
        config_file(GOOD), "engine={kind: vllm, model: m, engine_kwargs: {distributed_executor_backend: ray}}"
    )
    assert "distributed_executor_backend: ray keeps its GPUs until the job ends" in message


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ("engine_kwargs: {data_parallel_size: 4}", "data_parallel_size 4, for whose engines Ray would reserve no GPUs"),
        ("engine_kwargs: {data_parallel_size: 4}", "set replicas: [1, 4]"),
        ("engine_kwargs: {default_chat_template_kwargs: {a: 1}}", "set the key chat_template_kwargs beside it"),
        ("engine_kwargs: {nnodes: 2}", "nnodes 2, and the processes of a replica share a node"),
        ("accelerator_type: H100, device: cpu", "accelerator_type is 'H100', a GPU, and device is cpu"),
        ("accelerator_type: 'in(H100,H200)'", "accelerator_type"),
    ],
)
def test_engines_and_nodes_that_ray_could_not_count_are_refused(config_file, settings, refused):
    judge = f"evaluation.judges=[{{name: a, model: m, {settings}}}]"
    assert refused in refusal(config_file(GOOD), f"engine={{kind: vllm, model: m, {settings}}}")
    assert refused in refusal(config_file(GOOD), judge)


def test_a_dry_run_asks_an_endpoint_that_wants_no_key(config_file):
    engine = "{kind: openai, model: m, base_url: 'http://127.0.0.1:9/v1', api_key_env: null}"
    notes: list[str] = []
    assert find_model(load_config(config_file(GOOD), [f"engine={engine}"]), notes) == "m (not checked)"
    assert "does not answer" in notes[0]


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ("{train_batch_size: 8}", "deepspeed has train_batch_size, which the factory sets itself; leave it out; set "
         "training.global_batch_size instead"),
        ("{zero_optimization: {stage: 2}}", "deepspeed has zero_optimization.stage"),
        ("{zero_optimization: {offload_param: {device: nvme}}}", "set training.offload instead"),
        ("{bf16: {enabled: false}}", "set training.precision instead"),
        ("{gradient_clipping: 2}", "set training.max_grad_norm instead"),
        ("{optimizer: {type: Lion}}", "set training.learning_rate, betas and weight_decay instead"),
        ("{zero_optimization: {offload_param: null}}", "deepspeed.zero_optimization.offload_param is None"),
        ("{zero_optimization: 2}", "deepspeed.zero_optimization is 2; give the keys to change in it"),
        ("{checkpoint: {load_universal: true}}", "deepspeed has checkpoint"),
        ("{monitor: {api_key: sk-abcdefghijklmnopqrstuvwxyz0123456789}}", "would show the secret"),
    ],
)  # fmt: skip
def test_keys_of_deepspeed_that_have_settings_are_refused(config_file, settings, refused):
    assert refused in refusal(config_file(GOOD), f"training.deepspeed={settings}")


@pytest.mark.parametrize(("name", "step"), [("last", None), ("best", None), ("step-120", 120)])
def test_the_checkpoint_to_export_is_named(config_file, name, step):
    assert load_config(config_file(GOOD), [f"training.export_checkpoint={name}"]).training.export_step == step


@pytest.mark.parametrize("name", ["step-0", "step", "step--1", "120", "newest", "step-1\n"])
def test_another_name_of_a_checkpoint_is_refused(config_file, name):
    assert "training.export_checkpoint" in refusal(config_file(GOOD), f'training.export_checkpoint="{name}"')


def test_a_limit_that_no_counter_holds_is_refused(config_file):
    with pytest.raises(ConfigError, match="fit into 64 bits"):
        load_config(config_file(GOOD)).limited(10**30)
    assert "64 bits" in refusal(config_file(GOOD), f"personas.limit={10**30}")


@pytest.mark.parametrize("value", ["9" * 5000, "0x10", "1e3", "ten"])
def test_a_limit_that_is_no_number_is_one_short_line(monkeypatch, value):
    monkeypatch.setattr("sys.argv", ["job", "--config", "x.yaml", "--limit", value])
    with pytest.raises(ConfigError, match=r"^argument --limit: invalid int value: .* --help shows the options$") as it:
        run()
    assert len(str(it.value)) < 400


NULL = {"sampling": {"temperature": None}}
MODELS = {"vllm": {"kind": "vllm", "model": "embedded"}, "endpoint": {"kind": "openai", "model": "gpt-5"}}


def test_only_endpoints_take_a_null_in_their_sampling():
    config = RunConfig(output="x", engine=MODELS["endpoint"], profiles=NULL, dialogues=NULL)
    assert config.profiles.sampling.temperature is None
    with pytest.raises(ValidationError, match=r"dialogues\.sampling\.temperature is null.*the engine is vLLM; give a"):
        RunConfig(output="x", engine=MODELS["vllm"], dialogues=NULL)


def test_a_vllm_candidate_takes_no_null_either():
    candidates = [{"name": name, **model} for name, model in MODELS.items()]
    nulls = {"sampling": {"top_p": None}}
    assert RunConfig(output="x", evaluation={"candidates": candidates[1:], **nulls})
    with pytest.raises(ValidationError, match=r"evaluation\.sampling\.top_p is null.*candidate 'vllm' is vLLM"):
        RunConfig(output="x", evaluation={"candidates": candidates, **nulls})


@pytest.mark.parametrize(
    ("model", "url"),
    [
        ("gpt-4o", "https://api.openai.com/v1"),
        ("o3-mini", "https://api.openai.com/v1"),
        ("claude-sonnet-4-5", "https://api.anthropic.com/v1"),
        ("gemini-2.5-pro", "https://generativelanguage.googleapis.com/v1beta/openai"),
        ("deepseek-reasoner", "https://api.deepseek.com/v1"),
        ("magistral-medium-latest", "https://api.mistral.ai/v1"),
        ("grok-4", "https://api.x.ai/v1"),
    ],
)
@pytest.mark.parametrize("key", ["candidates", "judges"])
def test_a_hosted_model_without_its_address_gets_the_lines_to_add(config_file, key, model, url):
    message = refusal(config_file(f"output: x\nevaluation: {{{key}: [{{name: j, model: {model}}}]}}"))
    assert f"add the two lines `kind: openai` and `base_url: {url}`" in message


@pytest.mark.parametrize(
    "model", ["gpt2", "openai/gpt-oss-20b", "mistralai/Mistral-7B-Instruct-v0.3", "./gpt-4o", "embedded"]
)
def test_a_model_that_runs_here_is_none_of_the_hosted(model):
    assert RunConfig(output="x", evaluation={"candidates": [{"name": "c", "model": model}]})


def test_a_folder_named_like_a_hosted_model_is_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("gpt-4o").mkdir()
    assert RunConfig(output="x", engine={"kind": "vllm", "model": "gpt-4o"})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{temperature: 1}", "leave temperature out"),
        ("{model: a, n: 2}", "leave model, n out"),
        ("{api_key: sk-1}", "would show the secret 'api_key'"),
    ],
)
def test_extra_body_holds_neither_settings_nor_secrets(config_file, body, said):
    message = refusal(config_file(f"output: x\nengine: {{kind: openai, model: m, extra_body: {body}}}"))
    assert said in message
    assert "sk-1" not in message
